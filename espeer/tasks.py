"""What trio leaves to us: blocking work beside the loop, and tasks that serve a block."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Final, TypeVar, TypeVarTuple

import trio

from espeer.errors import EspeerError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_WITHOUT_THREADS: Final = ContextVar("_WITHOUT_THREADS", default=False)


async def in_thread(work: Callable[[*Ts], T], *args: *Ts) -> T:
    """Run short blocking work, such as a database call, in a thread.

    Once begun it is never abandoned: the caller gets its result even if it is cancelled meanwhile, and feels that later.
    """
    if _WITHOUT_THREADS.get():
        await trio.lowlevel.checkpoint()
        return work(*args)
    return await trio.to_thread.run_sync(work, *args)


@contextmanager
def without_threads() -> Iterator[None]:
    """Have :func:`in_thread` hold up the event loop instead, in the block and in the tasks that begin in it.

    For simulations: a virtual clock does not wait for threads.
    """
    before = _WITHOUT_THREADS.set(True)
    try:
        yield
    finally:
        _WITHOUT_THREADS.reset(before)


@asynccontextmanager
async def background() -> AsyncIterator[trio.Nursery]:
    """Open a nursery for tasks that serve the block: they are cancelled at its end.

    What the block raises comes out as it is; a plain nursery would wrap it in a group. What a task raises is its own fault
    and comes out in a group.
    """
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except Exception as error:  # noqa: BLE001 - raised again below, outside the nursery
                failure = error
            nursery.cancel_scope.cancel()
    except* trio.Cancelled:  # whoever cancelled this meanwhile must not make the failure vanish
        if failure is None:
            raise
    if failure is not None:
        raise failure


def cause(error: BaseException) -> BaseException:
    """Return what a group of errors, such as nurseries make, is about: an interrupt, else the first of ours, else the first."""
    leaves = _leaves(error)
    chosen = [leaf for kind in (KeyboardInterrupt, EspeerError) for leaf in leaves if isinstance(leaf, kind)]
    return (chosen or leaves)[0]


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
