"""One model, one queue: requests run one at a time, the most urgent first.

Nobody waits for background work: it gives way between two tokens and is done again later. What is cancelled stops within the
time between two checkpoints of the model.
"""

import contextlib
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

import trio

from espeer.errors import ModelError, QueueFull
from espeer.llm.model import Checkpoint, Model, Prompt, Sampling, Score

_USUAL: Final = Sampling()


class Priority(IntEnum):
    """How urgent a request is; a lower number comes first."""

    INTERACTIVE = 0
    DISTIL = 1
    REFINE = 2


class _Stopped(BaseException):
    """Raised by a checkpoint to stop a job. A model that catches ``Exception`` must not catch this."""


@dataclass(eq=False)
class _Job:
    """A request.

    :ivar number: counts arrivals.
    :ivar work: what to do, in the model's thread.
    :ivar pieces: where a streamed answer goes. Such a job is never done again: its reader has the beginning already.
    :ivar stop: read by the model's thread at each checkpoint.
    :ivar withdrawn: nobody waits for the result any more.
    """

    priority: Priority
    number: int
    work: Callable[[Checkpoint], Any]
    pieces: trio.MemorySendChannel[str] | None = None
    stop: bool = False
    withdrawn: bool = False
    value: Any = None
    error: Exception | None = None
    done: trio.Event = field(default_factory=trio.Event)

    @property
    def order(self) -> tuple[int, int]:
        return self.priority, self.number

    def finish(self, value: Any = None, error: Exception | None = None) -> None:
        self.value, self.error = value, error
        self.done.set()
        if self.pieces is not None:
            self.pieces.close()


class _Pieces:
    """Iterates over a streamed answer; raises what ended it early."""

    def __init__(self, job: _Job, pieces: trio.MemoryReceiveChannel[str]) -> None:
        self._job = job
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        with contextlib.suppress(trio.EndOfChannel):
            return await self._pieces.receive()
        if self._job.error is not None:
            raise self._job.error
        raise StopAsyncIteration


class Engine:
    """Gives a model to many tasks.

    Requests may be made before :meth:`run` is started; they wait for it.

    :param model: is used by one thread at a time; closing it, after :meth:`run` has ended, is its owner's business.
    :param max_waiting: the most requests that may wait. Less urgent ones are not counted, so background work never keeps an
        interactive request out.
    :param in_thread: run the model in a thread. Without one it holds up the event loop while it works: for models that answer
        at once, such as the fake, on a virtual clock, which does not wait for threads.
    """

    def __init__(self, model: Model, *, max_waiting: int = 64, in_thread: bool = True) -> None:
        self.model: Final = model
        self._max_waiting = max_waiting
        self._in_thread = in_thread
        self._limiter = trio.CapacityLimiter(1)  # not the default one: SQLite must not wait for the model
        self._jobs: list[_Job] = []
        self._running: _Job | None = None
        self._arrival = trio.Event()
        self._count = 0
        self._stopped = False

    @property
    def waiting(self) -> int:
        """Number of requests that wait, without the one at work."""
        return len(self._jobs)

    @property
    def stopped(self) -> bool:
        """Whether :meth:`run` has ended: no more requests are taken."""
        return self._stopped

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled. The model is not used any more when this has ended.

        All requests that are not done then raise ModelError in their callers, as do those made later.
        """
        task_status.started()
        try:
            while True:
                while not self._jobs:
                    self._arrival = trio.Event()
                    await self._arrival.wait()
                job = min(self._jobs, key=lambda job: job.order)
                self._jobs.remove(job)
                await self._perform(job)
        finally:
            self._stopped = True
            for job in self._jobs:
                job.finish(error=_stopping())
            self._jobs.clear()

    async def complete(self, prompt: Prompt, sampling: Sampling = _USUAL, *, priority: Priority = Priority.INTERACTIVE) -> str:
        """The model's answer.

        :raises QueueFull: too many requests wait.
        :raises ModelError: what the model raised; or the engine has stopped.
        """

        def work(checkpoint: Checkpoint) -> str:
            return "".join(self.model.generate(prompt, sampling, checkpoint))

        answer: str = await self._result(work, priority)
        return answer

    async def score(
        self, prompt: Prompt, continuations: Sequence[str], *, priority: Priority = Priority.INTERACTIVE
    ) -> list[Score]:
        """How likely the model finds each continuation. Raises as :meth:`complete` does."""

        def work(checkpoint: Checkpoint) -> list[Score]:
            return self.model.score(prompt, continuations, checkpoint)

        scores: list[Score] = await self._result(work, priority)
        return scores

    async def turn(self, priority: Priority) -> None:
        """Return when nothing more urgent is at work or waits: for background work that needs the machine and not the model.

        Raises as :meth:`complete` does.
        """
        if self._jobs or self._running is not None:
            await self._result(lambda _: None, priority)

    @contextlib.asynccontextmanager
    async def stream(
        self, prompt: Prompt, sampling: Sampling = _USUAL, *, priority: Priority = Priority.INTERACTIVE
    ) -> AsyncIterator[AsyncIterator[str]]:
        """Give the answer piece by piece.

        ::

            async with engine.stream(prompt) as pieces:
                async for piece in pieces:
                    ...

        Leaving the block stops the generation. A streamed answer does not give way to more urgent requests. What the model
        raises comes out of the loop, so nothing has to be sent before the first piece is there.

        :raises QueueFull: too many requests wait.
        :raises ModelError: the engine has stopped.
        """
        # A slow reader costs memory, but no more than an answer of max_tokens.
        send, receive = trio.open_memory_channel[str](math.inf)

        def work(checkpoint: Checkpoint) -> None:
            for piece in self.model.generate(prompt, sampling, checkpoint):
                if self._in_thread:
                    trio.from_thread.run_sync(send.send_nowait, piece)
                else:
                    send.send_nowait(piece)

        job = self._submit(work, priority, send)
        try:
            yield _Pieces(job, receive)
        finally:
            self._withdraw(job)

    async def _result(self, work: Callable[[Checkpoint], Any], priority: Priority) -> Any:
        job = self._submit(work, priority)
        try:
            await job.done.wait()
        finally:
            self._withdraw(job)
        if job.error is not None:
            raise job.error
        return job.value

    def _submit(
        self, work: Callable[[Checkpoint], Any], priority: Priority, pieces: trio.MemorySendChannel[str] | None = None
    ) -> _Job:
        if self._stopped:
            raise _stopping()
        if sum(job.priority <= priority for job in self._jobs) >= self._max_waiting:
            raise QueueFull(f"{self._max_waiting} requests wait for the model already; try again later")
        self._count += 1
        job = _Job(priority, self._count, work, pieces)
        self._jobs.append(job)
        self._arrival.set()
        running = self._running
        if running is not None and priority < running.priority and running.pieces is None:
            running.stop = True
        return job

    def _withdraw(self, job: _Job) -> None:
        """See to it that no more work is done for a job; one that is done stays so."""
        job.withdrawn = job.stop = True
        if job in self._jobs:
            self._jobs.remove(job)
            job.finish(error=_withdrawn())

    async def _perform(self, job: _Job) -> None:
        self._running = job
        try:
            if self._in_thread:
                value = await trio.to_thread.run_sync(self._work, job, limiter=self._limiter)
            else:
                await trio.lowlevel.checkpoint()
                value = self._work(job)
        except _Stopped:
            if job.withdrawn:
                job.finish(error=_withdrawn())
            else:
                job.stop = False
                self._jobs.append(job)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's; the next request may fare better
            job.finish(error=error)
        except BaseException:
            job.finish(error=_stopping())
            raise
        else:
            job.finish(value)
        finally:
            self._running = None

    def _work(self, job: _Job) -> Any:
        def checkpoint() -> None:
            if job.stop:
                raise _Stopped
            if self._in_thread:
                trio.from_thread.check_cancelled()

        return job.work(checkpoint)


def _stopping() -> ModelError:
    return ModelError("the node is stopping and takes no more requests; start it again")


def _withdrawn() -> ModelError:
    return ModelError("the request was withdrawn; make it again")
