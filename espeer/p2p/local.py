"""This node, as every protocol of ours needs to know it."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from espeer.p2p.door import Blame, Counters, Door
from espeer.p2p.links import Links
from espeer.records import is_type


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """What all protocols of one node share.

    :ivar network: name of the network, part of every protocol's and topic's name.
    :ivar types: the types held here; a client holds none.
    :ivar links: who is connected.
    :ivar now_ms: our clock, milliseconds since the Unix epoch.
    """

    network: str
    types: tuple[str, ...]
    door: Door
    links: Links
    now_ms: Callable[[], int]
    rng: random.Random
    counters: Counters
    blame: Blame

    def named(self, name: str) -> str:
        """A protocol's name in our network, such as ``/espeer/1/main/sync/2``."""
        return f"/espeer/1/{self.network}/{name}"

    def topic(self, type: str) -> str:
        """The gossip topic of a type."""
        return self.named(type)

    def type_of(self, topic: str) -> str | None:
        """The type of one of our network's gossip topics; None for any other topic."""
        name = topic.removeprefix(self.named(""))
        return name if name != topic and is_type(name) else None
