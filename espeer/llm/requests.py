"""A request to a model, and what its caller sees of it."""

from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import trio

from espeer.llm.model import Finish, Run, Score
from espeer.llm.schedule import Priority


@dataclass(eq=False, slots=True)
class Request:
    """A request. The model's thread writes it, the event loop's reads it.

    :ivar begin: makes the run; None if there is nothing to do.
    :ivar run: for the model's thread alone.
    :ivar news: where the caller waits; for the event loop's thread alone.
    :ivar pieces: the text so far, without what a reader has taken.
    :ivar made, begun: seconds, by the engine's clock: when it was made, and when the model began with it.
    :ivar over: nothing of the above changes after it is set: read it before ``pieces``, or the last one may be missed.
    """

    priority: Priority
    begin: Callable[[], Run | None]
    made: float
    begun: float | None = None
    run: Run | None = None
    news: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)
    pieces: deque[str] = field(default_factory=deque)
    scores: list[Score] = field(default_factory=list)
    finish: Finish | None = None
    error: Exception | None = None
    over: bool = False

    async def wait(self) -> None:
        """Return when it is over; raise what it failed of."""
        while not self.over:
            await self.news.park()
        if self.error is not None:
            raise self.error


class Pieces:
    """Iterates over a streamed answer, piece by piece; raises what ended it early."""

    def __init__(self, request: Request) -> None:
        self._request = request

    @property
    def finish(self) -> Finish | None:
        """Why the answer ended; None before it has."""
        return self._request.finish

    @property
    def queued(self) -> float:
        """Seconds until the model began with it; 0 before that."""
        return 0.0 if self._request.begun is None else self._request.begun - self._request.made

    def __aiter__(self) -> AsyncIterator[str]:
        """Iterate over the pieces that did not come yet."""
        return self

    async def __anext__(self) -> str:
        """Return the next piece; it is never empty."""
        request = self._request
        await trio.lowlevel.checkpoint()
        while True:
            over = request.over
            if request.pieces:
                return request.pieces.popleft()
            if over:
                await request.wait()
                raise StopAsyncIteration
            await request.news.park()
