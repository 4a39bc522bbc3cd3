"""The submitter: brings a client's experiences from the queue on disk to a server."""

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from espeer.errors import EspeerError
from espeer.log import get_logger
from espeer.p2p.submit import Verdict
from espeer.p2p.wire import MAX_BATCH_RECORDS
from espeer.records import SignedRecord
from espeer.submissions import Queue
from espeer.tasks import in_thread

FIRST_DELAY: Final = 0.5
"""Seconds before the second try."""
LAST_DELAY: Final = 30.0
"""The most seconds between two tries."""
REFUSED_SECONDS: Final = 300.0
"""After so long what no server took, because of its type say, is offered again."""

log = get_logger(__name__)


class Submitter:
    """Empties the queue, oldest first, as servers take it.

    :param connected: waits until a server is connected.
    :param submit: hands records to a server, or raises an EspeerError; see :meth:`espeer.p2p.others.Others.submit`.
    """

    def __init__(
        self,
        queue: Queue,
        *,
        connected: Callable[[], Awaitable[None]],
        submit: Callable[[Sequence[SignedRecord]], Awaitable[Sequence[Verdict]]],
        rng: random.Random,
    ) -> None:
        self._queue = queue
        self._connected = connected
        self._submit = submit
        self._rng = rng
        self._news = trio.Event()

    def wake(self) -> None:
        """There is something new in the queue."""
        self._news.set()

    async def run(self) -> None:
        """Submit until cancelled."""
        passed, delay = 0, FIRST_DELAY  # passed: the place in the queue up to which everything was offered
        said = ""
        while True:
            self._news = trio.Event()
            try:
                offered = await self._offer_next(passed)
            except EspeerError as error:
                note = log.debug if str(error) == said else log.info
                note("submissions wait", reason=str(error))
                said = str(error)
            except Exception:  # a fault of ours, or of libp2p, that must not end the node, nor come back at once
                log.exception("a submission failed")
            else:
                if offered is None:
                    with trio.move_on_after(REFUSED_SECONDS) as waiting:
                        await self._news.wait()
                    offered = 0 if waiting.cancelled_caught else passed
                passed, delay, said = offered, FIRST_DELAY, ""
                continue
            await trio.sleep(delay * self._rng.uniform(0.5, 1))
            delay = min(2 * delay, LAST_DELAY)

    async def _offer_next(self, passed: int) -> int | None:
        """Submit the oldest behind the place ``passed``; return the place of the last of them, or None if there are none."""
        batch = await in_thread(self._queue.oldest, MAX_BATCH_RECORDS, passed)
        if not batch:
            return None
        await self._connected()
        verdicts = await self._submit([signed for _, signed in batch])
        taken = [place for (place, _), verdict in zip(batch, verdicts, strict=True) if verdict is Verdict.STORED]
        await in_thread(self._queue.remove, taken)
        if len(taken) < len(batch):
            reasons = sorted({verdict.name for verdict in verdicts if verdict is not Verdict.STORED})
            log.warning("no server takes some experiences; they are kept", number=len(batch) - len(taken), reasons=reasons)
        return batch[-1][0]
