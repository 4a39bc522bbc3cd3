"""Blocking work beside trio's loop."""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


async def in_thread(work: Callable[[*Ts], T], *args: *Ts) -> T:
    """Run short blocking work, such as a database call, in a thread.

    Once begun it is never abandoned: the caller gets its result even if it is cancelled meanwhile, and feels that later.
    """
    return await trio.to_thread.run_sync(work, *args)
