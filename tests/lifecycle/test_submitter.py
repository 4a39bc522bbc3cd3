"""The submitter, in virtual time, on a real store."""

import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import trio
import trio.testing

from espeer.errors import NetworkError, StoreFull
from espeer.lifecycle.submitter import FIRST_DELAY, LAST_DELAY, REFUSED_SECONDS, Submitter
from espeer.p2p.submit import Verdict
from espeer.p2p.wire import MAX_BATCH_RECORDS
from espeer.records import SignedRecord
from espeer.store import Store
from espeer.submissions import Queue
from espeer.tasks import in_thread

Make = Callable[..., SignedRecord]


class Bench:
    """A submitter with its queue, and a server made of values. Nothing here waits for a time: only the submitter does."""

    def __init__(self, path: Path) -> None:
        self.queue = Queue(Store.open(path / "q.db"), types=("pumps", "valves"))
        self.up = trio.Event()
        self.failures: list[Exception] = []
        self.held = ("pumps", "valves")
        self.times: list[float] = []
        self._send, self.batches = trio.open_memory_channel[list[str]](100)
        self.submitter = Submitter(self.queue, connected=self.up.wait, submit=self._submit, rng=random.Random(1))

    async def _submit(self, batch: Sequence[SignedRecord]) -> list[Verdict]:
        self.times.append(trio.current_time())
        if self.failures:
            raise self.failures.pop(0)
        self._send.send_nowait([signed.record.text for signed in batch])
        return [Verdict.STORED if signed.record.type in self.held else Verdict.NOT_HELD for signed in batch]

    def learn(self, *records: SignedRecord) -> None:
        for signed in records:
            self.queue.add([signed], via="own")
        self.submitter.wake()

    async def until_waiting(self, number: int) -> None:
        while len(self.queue) != number:
            await in_thread(int)


@pytest.fixture
def bench(tmp_path: Path, nursery: trio.Nursery) -> Bench:
    made = Bench(tmp_path)
    nursery.start_soon(made.submitter.run)
    return made


async def test_what_waits_is_submitted_oldest_first_when_a_server_is_there(
    bench: Bench, experience: Make, autojump_clock: trio.testing.MockClock
) -> None:
    bench.learn(*(experience(f"lesson {number}") for number in range(MAX_BATCH_RECORDS + 2)))
    await trio.sleep(100)
    assert bench.times == []
    bench.up.set()
    first, second = await bench.batches.receive(), await bench.batches.receive()
    assert [len(first), len(second)] == [MAX_BATCH_RECORDS, 2]
    assert [*first, *second] == [f"lesson {number}" for number in range(MAX_BATCH_RECORDS + 2)]
    await bench.until_waiting(0)
    bench.learn(experience("one more"))
    assert await bench.batches.receive() == ["one more"]


async def test_a_failure_is_tried_again_later_and_later(
    bench: Bench, experience: Make, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    bench.failures = [NetworkError("the server is busy"), StoreFull("no room"), RuntimeError("a fault")] + [
        NetworkError("gone")
    ] * 10
    bench.up.set()
    bench.learn(experience("lesson"))
    assert await bench.batches.receive() == ["lesson"]
    pauses = [later - earlier for earlier, later in pairwise(bench.times)]
    assert pauses[0] <= FIRST_DELAY
    assert LAST_DELAY / 2 <= pauses[-1] <= LAST_DELAY
    reasons = [vars(entry)["reason"] for entry in caplog.records if entry.getMessage() == "submissions wait"]
    assert reasons == ["the server is busy", "no room", "gone"], "each is told once, not at every try"


async def test_what_no_server_takes_keeps_nothing_back_and_is_offered_again(
    bench: Bench, experience: Make, autojump_clock: trio.testing.MockClock
) -> None:
    bench.held = ("pumps",)
    bench.up.set()
    bench.learn(experience("of a valve", type="valves"), experience("of a pump"))
    assert await bench.batches.receive() == ["of a valve", "of a pump"]
    await bench.until_waiting(1)
    bench.learn(experience("of another pump"))
    while "of another pump" not in await bench.batches.receive():
        pass
    await bench.until_waiting(1)
    bench.held = ("pumps", "valves")
    before = trio.current_time()
    while await bench.batches.receive() != ["of a valve"]:
        pass
    await bench.until_waiting(0)
    assert trio.current_time() - before <= 2 * REFUSED_SECONDS
