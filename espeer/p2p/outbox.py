"""The queue between whoever publishes records and the task that gossips them."""

from collections import deque
from collections.abc import Sequence

import trio

from espeer.p2p.wire import MAX_BATCH_RECORDS
from espeer.records import SignedRecord


class Outbox:
    """Records that wait to be gossiped: bounded, grouped by type, types in turn.

    :param limit: the most records that may wait.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: dict[str, deque[SignedRecord]] = {}
        self._size = 0
        self._filled = trio.Event()

    def __len__(self) -> int:
        """How many records wait."""
        return self._size

    def put(self, records: Sequence[SignedRecord]) -> int:
        """Take as many of ``records`` as there is room for; the return value says how many were not taken."""
        taken = records[: max(0, self._limit - self._size)]
        for signed in taken:
            self._waiting.setdefault(signed.record.type, deque()).append(signed)
        self._size += len(taken)
        if taken:
            self._filled.set()
        return len(records) - len(taken)

    async def take(self) -> tuple[str, list[SignedRecord]]:
        """Wait for records; up to a gossip message's number of one type, oldest first."""
        await self._filled.wait()
        name = next(iter(self._waiting))
        queue = self._waiting.pop(name)
        batch = [queue.popleft() for _ in range(min(len(queue), MAX_BATCH_RECORDS))]
        self._size -= len(batch)
        if queue:
            self._waiting[name] = queue  # behind the others
        if not self._size:
            self._filled = trio.Event()
        return name, batch


class Pace:
    """Lets events pass at an average rate, with bursts (a token bucket on trio's clock).

    :param rate: events per second.
    :param burst: events that may pass at once after a rest.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._step = 1 / rate
        self._slack = (burst - 1) * self._step
        self._due = float("-inf")

    async def wait(self) -> None:
        """Wait for this event's turn."""
        now = trio.current_time()
        self._due = max(self._due + self._step, now - self._slack)
        await trio.sleep_until(self._due)
