"""Stores in which every experience stands many times, and what refinement makes of one."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from espeer import records
from espeer.lifecycle.refiner import Refiner, Settings
from espeer.llm.engine import Engine, Priority
from espeer.p2p.identity import SEED_SIZE, Identity
from espeer.records import Experience, SignedRecord
from espeer.replica import Hit, Replica
from espeer.scale import Scale
from espeer.sim.experiments import paraphrases
from espeer.sim.experiments.metered import Metered
from espeer.sim.experiments.pupil import TYPE
from espeer.sim.experiments.questions import Item
from espeer.sim.experiments.refined_report import Counts, Kept, Likeness
from espeer.store import Store
from espeer.tasks import in_thread

_CREATED: Final = 1_700_000_000_000
"""Records are made from the same moment on always, so that their ids, which break ties, are the same in every run."""
_ROOM: Final = 10**9  # nothing is evicted: only what is alike goes
_PASSES: Final = 5  # over the questions, for the time that recall takes
_SAMPLE: Final = 60  # records whose likeness to all others is looked at


@dataclass(frozen=True, slots=True)
class Saturated:
    """What a store holds.

    :ivar records: in the order in which they came.
    :ivar items: by the record's id, hexadecimal, whose experience it is.
    """

    records: tuple[SignedRecord, ...]
    items: Mapping[str, str]

    def behind(self, hit: Hit) -> set[str]:
        """Return the items that what was recalled stands for: it is one of these records, or was made of several."""
        return {self.items[id_] for id_ in [source.hex() for source in hit.experience.sources] or [hit.id]}


@dataclass(slots=True)
class Refinement:
    """A store that is refined, or is not.

    :ivar replica: it is open for as long as the store is.
    :ivar refined: what refining came to; None before it.
    :ivar calls, tokens: of the model.
    :ivar recall_ms: each recall's time.
    """

    replica: Replica
    refined: Counts | None = None
    calls: int = 0
    tokens: int = 0
    recall_ms: tuple[float, ...] = ()

    @property
    def kept(self) -> Kept:
        """What it is now."""
        texts = [self.replica.experience(key).text for key in self.replica.active(TYPE)]
        size = sum(len(text.encode()) for text in texts)
        return Kept(len(texts), size, self.recall_ms, self.refined, self.calls, self.tokens)


def saturate(wordings: Mapping[str, Sequence[str]], *, iterations: int, seed: int, model: str) -> Saturated:
    """Have every item's experience come so often, in its wordings: in each of them once, and then in one drawn by the seed.

    :param wordings: by the item's id.
    :param model: who is said to have distilled them.
    """
    author = _author()
    rng = random.Random(seed)  # noqa: S311 - nothing secret
    columns = {}
    for item, own in wordings.items():
        said = [*own[:iterations], *(rng.choice(own) for _ in range(iterations - len(own)))]
        rng.shuffle(said)
        columns[item] = said
    made: list[SignedRecord] = []
    items: dict[str, str] = {}
    for turn in range(iterations):
        for item, said in columns.items():
            created = _CREATED + len(made)
            signed = records.sign(Experience(TYPE, said[turn], created, author.public, model, "distilled"), author.sign)
            made.append(signed)
            items[signed.id.hex()] = item
    return Saturated(tuple(made), items)


@contextmanager
def held(saturated: Saturated) -> Iterator[Refinement]:
    """Put it into a replica, as a node would hold it."""
    with closing(Store.open(Path(":memory:"))) as store:
        replica = Replica(store, types=(TYPE,), clock=_clock)
        replica.add(saturated.records, via="own")
        yield Refinement(replica)


async def refine(refinement: Refinement, engine: Engine, *, scale: Scale, threshold: float) -> None:
    """Have a node's refiner go over it, until nothing is alike any more or it has done its rounds."""
    author, writer = _author(), Metered(engine)
    refiner = Refiner(
        refinement.replica,
        writer,
        author=author.public,
        sign=lambda experience: records.sign(experience, author.sign),
        clock=_clock,
        settings=Settings(scale=scale, threshold=threshold, after=1, max_records=_ROOM, max_bytes=_ROOM),
    )
    outcome = await refiner.refine()
    refinement.refined = Counts(outcome.merged, outcome.condensed, outcome.extracted, outcome.disputed)
    refinement.calls, refinement.tokens = len(writer.said), writer.read + writer.written


async def time_recall(refinement: Refinement, items: Sequence[Item], *, k: int) -> None:
    """Note how long recall takes for the items' questions."""

    def measure() -> tuple[float, ...]:
        taken = []
        for item in [*items] * _PASSES:
            started = time.perf_counter()
            refinement.replica.recall(item.question, k)
            taken.append((time.perf_counter() - started) * 1000)
        return tuple(taken)

    refinement.recall_ms = await in_thread(measure)


def likeness(saturated: Saturated, replica: Replica, scale: Scale) -> Likeness:
    """Compare some of the records with all."""
    same: list[float] = []
    other: list[float] = []
    by_item: dict[str, int] = {}
    for item in saturated.items.values():
        by_item[item] = by_item.get(item, 0) + 1
    keys = list(saturated.items)
    for key in random.Random(0).sample(keys, min(_SAMPLE, len(keys))):  # noqa: S311 - nothing secret
        item = saturated.items[key]
        found = replica.neighbours(key, 0, scale=scale, k=len(keys))
        near = [likes for near, likes in found if saturated.items[near] == item]
        far = [likes for far, likes in found if saturated.items[far] != item]
        same += near + [0.0] * (by_item[item] - 1 - len(near))
        other += far + [0.0] * (len(keys) - by_item[item] - len(far))
    return Likeness(tuple(same), tuple(other))


async def worded(item: Item, text: str, engine: Engine, *, wordings: int, written: int, seed: int) -> tuple[list[str], int]:
    """Return an experience in so many wordings, its own first, and how many of them the model wrote.

    :param seed: of those that are made by rule; what the model writes is the same for all.
    """
    own = {text: None}
    for number in range(min(written, wordings - 1)):
        said = await engine.complete(
            paraphrases.prompt(text, right=item.right), paraphrases.sampling(number), priority=Priority.DISTIL
        )
        if paraphrases.keeps(said.strip(), text, right=item.right):
            own[said.strip()] = None
    by_model = len(own) - 1
    rng = random.Random(f"{seed} {item.id}")  # noqa: S311 - nothing secret
    for wording in paraphrases.by_rule(text, right=item.right, rng=rng, most=wordings):
        if len(own) < wordings:
            own[wording] = None
    return list(own), by_model


def _author() -> Identity:
    return Identity(bytes(SEED_SIZE))


def _clock() -> int:
    return _CREATED
