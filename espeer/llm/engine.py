"""One model, one thread, many tasks: requests go on step by step, the most urgent first.

Nobody waits for background work: it is paused in the middle of a step, keeps what it has, and goes on later. The queue is
looked at before each step, in the model's thread, which is the same one for the engine's whole life: OpenMP keeps a team of
threads for each that calls it. The event loop is told of pieces of text, and never waited for.
"""

import contextlib
import math
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Final

import trio

from espeer.errors import ModelError
from espeer.llm.model import Model, Prompt, Run, Sampling, Score
from espeer.llm.requests import Pieces, Request
from espeer.llm.schedule import Priority, Schedule
from espeer.log import get_logger

__all__ = ["Engine", "Pieces", "Priority"]

_USUAL: Final = Sampling()

log = get_logger(__name__)


class Engine:
    """Gives a model to many tasks.

    Requests may be made before :meth:`run` is started; they wait for it. None of them has a timeout of its own: put it into
    ``trio.fail_after`` or ``trio.move_on_after``. A caller that is cancelled leaves at once, what the model does for it is
    broken off, and the next request has its turn.

    :param model: is used by one thread at a time; closing it, after :meth:`run` has ended, is its owner's business.
    :param max_waiting: the most requests that may wait. Less urgent ones are not counted, so background work never keeps an
        interactive request out.
    :param in_thread: run the model in a thread. Without one each step holds up the event loop: for models that answer at once,
        such as the fake, on a virtual clock, which does not wait for threads.
    :param spend: awaited after each step without a thread: a model that only counts the time that a step takes lets it pass.
        It is cancelled where a step would be interrupted.
    """

    def __init__(
        self,
        model: Model,
        *,
        max_waiting: int = 64,
        in_thread: bool = True,
        spend: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
    ) -> None:
        self.model: Final = model
        self._in_thread: Final = in_thread
        self._spend: Final = spend
        self._spending: trio.CancelScope | None = None
        self._limiter: Final = trio.CapacityLimiter(1)  # not the default one: SQLite must not wait for the model
        self._lock: Final = threading.Condition()  # guards what follows, and ``over`` of requests; is held for moments only
        self._schedule: Final = Schedule[Request](width=model.width, max_waiting=max_waiting)
        self._now: Final = time.perf_counter if in_thread else trio.current_time
        self._busy: Final = dict.fromkeys(Priority, 0.0)
        self._stepping = False  # the model is in a step that nobody interrupted yet
        self._stopped = False
        self._forgotten: set[str] = set()
        self._loop: trio.lowlevel.TrioToken | None = None  # from here on for the event loop's thread
        self._arrival: Final = trio.lowlevel.ParkingLot()
        self._calm: Final = trio.lowlevel.ParkingLot()
        self._calm_since = -math.inf

    @property
    def waiting(self) -> int:
        """Number of requests that wait, paused ones among them, without those at work."""
        with self._lock:
            return self._schedule.waiting

    @property
    def waiting_by_priority(self) -> dict[Priority, int]:
        """The same, of each priority."""
        with self._lock:
            return self._schedule.waiting_by_priority

    @property
    def busy_by_priority(self) -> dict[Priority, float]:
        """Seconds that the model has worked so far, for requests of each priority; interrupted work counts, too."""
        with self._lock:
            return dict(self._busy)

    @property
    def stopped(self) -> bool:
        """Whether :meth:`run` has ended: no more requests are taken."""
        return self._stopped

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled. The model is not used any more when this has ended.

        All requests that are not done then raise ModelError in their callers, as do those made later.
        """
        self._loop = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._stop()

    async def complete(self, prompt: Prompt, sampling: Sampling = _USUAL, *, priority: Priority = Priority.INTERACTIVE) -> str:
        """The model's answer.

        :raises QueueFull: too many requests wait.
        :raises PromptTooLong: the prompt and ``max_tokens`` do not fit the model's context.
        :raises ModelError: what the model raised; or the engine has stopped.
        """
        return "".join((await self._result(lambda: self.model.generate(prompt, sampling), priority)).pieces)

    async def score(
        self, prompt: Prompt, continuations: Sequence[str], *, priority: Priority = Priority.INTERACTIVE
    ) -> list[Score]:
        """How likely the model finds each continuation. Raises as :meth:`complete` does."""
        return (await self._result(lambda: self.model.score(prompt, continuations), priority)).scores

    async def warm(self, prompt: Prompt, ranks: int) -> None:
        """Work out what can be kept of a prompt, at the priority WARM; see :meth:`espeer.llm.model.Model.warm`.

        Where all of it is kept already, nothing is done. Raises as :meth:`complete` does.
        """
        await self._result(lambda: None if self.model.is_warm(prompt, ranks) else self.model.warm(prompt, ranks), Priority.WARM)

    async def is_warm(self, prompt: Prompt, ranks: int) -> bool:
        """Whether :meth:`warm` would have nothing to do; see :meth:`espeer.llm.model.Model.is_warm`."""
        found = False

        def look() -> None:
            nonlocal found
            found = self.model.is_warm(prompt, ranks)

        await self._result(look, Priority.WARM)
        return found

    def forget(self, notes: Iterable[str]) -> None:
        """Have the model drop what it keeps of these notes, before its next step. May be called from any thread."""
        with self._lock:
            self._forgotten.update(notes)
            self._lock.notify()

    @contextlib.asynccontextmanager
    async def stream(
        self, prompt: Prompt, sampling: Sampling = _USUAL, *, priority: Priority = Priority.INTERACTIVE
    ) -> AsyncIterator[Pieces]:
        """Give the answer piece by piece, and then why it ended.

        ::

            async with engine.stream(prompt) as pieces:
                async for piece in pieces:
                    ...
            print(pieces.finish)

        Leaving the block stops the generation. What the model raises comes out of the loop, so nothing has to be sent before
        the first piece is there. The model does not wait for a slow reader.

        :raises QueueFull: too many requests wait.
        :raises ModelError: the engine has stopped.
        """
        request = self._submit(lambda: self.model.generate(prompt, sampling), priority)
        try:
            yield Pieces(request)
        finally:
            self._leave(request, _withdrawn())

    async def turn(self, priority: Priority) -> None:
        """Return when nothing more urgent is at work or waits: for background work that needs the machine and not the model.

        Raises as :meth:`complete` does.
        """
        with self._lock:
            taken = self._schedule.holds(priority)
        if taken:
            await self._result(lambda: None, priority)

    async def idle(self, seconds: float) -> None:
        """Return when nothing but warming has been asked of the model for so long.

        :raises ModelError: the engine has stopped.
        """
        while True:
            await trio.lowlevel.checkpoint()
            if self._stopped:
                raise _stopping()
            rest = self._calm_since + seconds - trio.current_time()
            if self._is_busy():
                await self._calm.park()
            elif rest > 0:
                await trio.sleep(rest)
            else:
                return

    # -- in the event loop's thread

    async def _result(self, begin: Callable[[], Run | None], priority: Priority) -> Request:
        request = self._submit(begin, priority)
        try:
            await request.wait()
        finally:
            self._leave(request, _withdrawn())
        return request

    def _submit(self, begin: Callable[[], Run | None], priority: Priority) -> Request:
        request = Request(priority, begin, self._now())
        with self._lock:
            if self._stopped:
                raise _stopping()
            self._schedule.add(request)
            self._look_again()
        return request

    def _leave(self, request: Request, reason: ModelError) -> None:
        """See to it that no more work is done for a request; one that is over stays as it is."""
        with self._lock:
            if request.over:
                return
            request.error, request.over = reason, True
            self._schedule.withdraw(request)
            self._look_again()
        self._tell(request)

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            self._look_again()
            requests = self._schedule.jobs
        for request in requests:
            self._leave(request, _stopping())
        self._calm.unpark_all()

    def _look_again(self) -> None:
        """Wake the worker, or call it off what it should not be at. The lock is held.

        Where one of several leaves, the others do not lose their step.
        """
        self._lock.notify()
        self._arrival.unpark_all()
        if self._stepping and self._in_thread and self._schedule.forsaken:
            self._stepping = False
            self.model.interrupt()
        elif self._spending is not None and self._schedule.forsaken:
            self._spending.cancel()

    def _tell(self, request: Request) -> None:
        """Wake those who wait for the end of a request."""
        request.news.unpark_all()
        if request.priority < Priority.WARM and not self._is_busy():
            self._calm_since = trio.current_time()
            self._calm.unpark_all()

    def _is_busy(self) -> bool:
        with self._lock:
            return self._schedule.holds(Priority.REFINE)

    async def _serve(self) -> None:
        with trio.CancelScope(shield=True):  # the worker ends when it sees that the engine has stopped
            if self._in_thread:
                await trio.to_thread.run_sync(self._work, limiter=self._limiter)
                return
            while not self._stopped:
                if self._advance():
                    with trio.CancelScope() as self._spending:
                        await self._spend()
                    self._spending = None
                else:
                    await self._arrival.park()
            self._clear_up()

    # -- in the model's thread

    def _work(self) -> None:
        while not self._stopped:
            if not self._advance():
                with self._lock:
                    self._lock.wait_for(lambda: self._stopped or self._forgotten or not self._schedule.at_rest)
        self._clear_up()

    def _advance(self) -> bool:
        """Bring those whose turn it is on by one step; return False if there are none."""
        self._clear_up()
        with self._lock:
            requests = self._schedule.next()
        for request in requests:
            if request.run is None:
                self._begin(request)
        with self._lock:
            if self._schedule.overtaken:  # by one that came meanwhile; or one of these is over already
                return True
            self._stepping = bool(requests)
        if requests:
            self._step([(request, request.run) for request in requests if request.run is not None])
        return bool(requests)

    def _clear_up(self) -> None:
        with self._lock:
            withdrawn = self._schedule.withdrawn()
            forgotten, self._forgotten = self._forgotten, set()
        for request in withdrawn:
            _close(request)
        if forgotten:
            self.model.forget(forgotten)

    def _begin(self, request: Request) -> None:
        request.begun = self._now()
        try:
            request.run = request.begin()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's; the next request may fare better
            self._end(request, error)
        else:
            if request.run is None:
                self._end(request, None)

    def _step(self, pairs: Sequence[tuple[Request, Run]]) -> None:
        failure: Exception | None = None
        begun = self._now()
        try:
            self.model.step([run for _, run in pairs])
        except Exception as error:  # noqa: BLE001 - the same; and whose it is nobody knows
            failure = error
        with self._lock:
            self._stepping = False
            self._busy[pairs[0][0].priority] += self._now() - begun  # those of one step are of one priority
        for request, run in pairs:
            if failure is None:
                self._take(request, run)
            else:
                self._end(request, failure)

    def _take(self, request: Request, run: Run) -> None:
        """Hand over what a step brought."""
        try:
            piece, done = run.take(), run.done
            if done:
                request.finish, request.scores = run.finish, run.scores
        except Exception as error:  # noqa: BLE001 - the same
            self._end(request, error)
            return
        if piece:
            request.pieces.append(piece)
        if done:
            self._end(request, run.error)
        elif piece:
            self._report(request.news.unpark_all)

    def _end(self, request: Request, error: Exception | None) -> None:
        _close(request)
        with self._lock:
            if request.over:  # its caller has left
                return
            request.error, request.over = error, True
            self._schedule.remove(request)
        self._report(self._tell, request)

    def _report(self, tell: Callable[..., object], *args: Request) -> None:
        if not self._in_thread:
            tell(*args)
        elif self._loop is not None:
            self._loop.run_sync_soon(tell, *args, idempotent=True)


def _close(request: Request) -> None:
    if request.run is None:
        return
    try:
        request.run.close()
    except Exception:
        log.exception("a request's room in the model was not given back")


def _stopping() -> ModelError:
    return ModelError("the node is stopping and takes no more requests; start it again")


def _withdrawn() -> ModelError:
    return ModelError("the request was withdrawn; make it again")
