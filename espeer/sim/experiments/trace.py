"""Who asks what, epoch by epoch: overlapping questions, the same for every deployment (pure)."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from espeer.sim.experiments.questions import Item

Before = Literal["nobody", "others", "self"]
"""Who was asked a question, and told what is right, in an earlier epoch: the asker itself, only others, or nobody."""

NOBODY: Final = "nobody"
OTHERS: Final = "others"
SELF: Final = "self"
BEFORE: Final[tuple[Before, ...]] = (NOBODY, OTHERS, SELF)


@dataclass(frozen=True, slots=True)
class Ask:
    """A question to a client.

    :ivar client: its place among the clients.
    :ivar before: who knows of it already.
    """

    client: int
    item: Item
    before: Before


def trace(items: Sequence[Item], seed: int, *, clients: int, epochs: int, share: float) -> list[list[Ask]]:
    """Draw for each epoch and client its share of the questions, at least one; give each epoch's asks, the clients in turn."""
    rng = random.Random(seed)  # noqa: S311 - nothing secret
    each = max(1, round(share * len(items)))
    askers: dict[str, set[int]] = {item.id: set() for item in items}
    epochs_asked = []
    for _ in range(epochs):
        drawn = [rng.sample(items, each) for _ in range(clients)]
        asks = [
            Ask(client, item, SELF if client in (known := askers[item.id]) else OTHERS if known else NOBODY)
            for turn in zip(*drawn, strict=True)
            for client, item in enumerate(turn)
        ]
        for ask in asks:
            askers[ask.item.id].add(ask.client)
        epochs_asked.append(asks)
    return epochs_asked
