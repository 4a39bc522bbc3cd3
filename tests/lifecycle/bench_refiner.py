"""A refiner with everything around it, also for the processes that are killed in the middle of a run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from nacl.signing import SigningKey

from espeer import records
from espeer.lifecycle.refiner import Refiner, Settings
from espeer.llm.engine import Engine
from espeer.llm.fake import FakeModel
from espeer.records import Experience, SignedRecord
from espeer.replica import Replica
from espeer.store import Store

OWN, OTHERS = SigningKey(bytes(range(32))), [SigningKey(bytes([number] * 32)) for number in range(4)]
DAY_MS = 24 * 3600 * 1000

REPORTS = (
    # one fault in four wordings
    "When the Orla-2 dryer stops with K11 after its lid was opened, press the lid switch for 5 seconds.",
    "The Orla-2 dryer stops and shows K11 after the lid was opened: pressing its lid switch for 5 seconds helps.",
    "Orla-2 dryer with K11, stopped after its lid was opened: keep the lid switch pressed for 5 seconds.",
    "If the Orla-2 dryer reports K11 and stops after opening the lid, the lid switch wants 5 seconds of pressing.",
    # a duplicate
    "The Brunt-9 printer striped its pages with PX-9: wipe the copper roller with dry felt.",
    "The Brunt-9 printer striped its pages with PX-9. Wipe copper roller with dry felt",
    # of the same machine, but another fault
    "When the Orla-2 dryer stops with K77 after its lid was opened, replace the hinge.",
    # others
    "E42 on the Halven-4 pump: purge the line for 40 seconds.",
    "The Tamsin-7 crane trips its breaker at night: dry the silver plug.",
    "The Ulven-3 mixer grinds under full load: a new bearing is needed.",
    "Kestrel-3 loses oil after cleaning: tighten the coupling to 12 Nm.",
    "The chiller B-5 overheats in summer: clean the inlet filter.",
)
FAMILY, DUPLICATES = range(4), range(4, 6)


def told(text: str, number: int, *, type: str = "pumps", author: int = 0) -> SignedRecord:
    """Make an experience of somebody else's."""
    key = OTHERS[author]
    record = Experience(type, text, number, bytes(key.verify_key), "fake", "distilled")
    return records.sign(record, lambda digest: key.sign(digest).signature)


class Bench:
    """A replica with :data:`REPORTS`, and a refiner."""

    def __init__(self, path: Path, model: FakeModel | None = None, *, now: int = DAY_MS, **settings: object) -> None:
        usual = {"scale": "normalised", "threshold": 0.4, "after": 50, "max_records": 1000, "max_bytes": 2**20}
        self.now = now
        self.path = path
        self.store = Store.open(path / "espeer.db")
        self.replica = Replica(self.store, types=("pumps", "valves"), clock=lambda: self.now, index_path=path / "espeer.index")
        self.made = [told(text, number) for number, text in enumerate(REPORTS)]
        self.ids = [signed.id.hex() for signed in self.made]
        self.replica.add(self.made, via="gossip")
        self.engine = Engine(model or FakeModel(), in_thread=False)
        self.refiner = Refiner(
            self.replica,
            self.engine,
            author=bytes(OWN.verify_key),
            sign=lambda record: records.sign(record, lambda digest: OWN.sign(digest).signature),
            clock=lambda: self.now,
            settings=Settings(**(usual | settings)),  # type: ignore[arg-type]
        )

    def states(self, which: range) -> list[str]:
        return [self.replica.show(self.ids[place]).state for place in which]

    def head(self, place: int) -> str:
        """Return what stands for a report, or itself."""
        return self.replica.show(self.ids[place]).by or self.ids[place]


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Bench]:
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.engine.run)
        yield bench
        nursery.cancel_scope.cancel()
