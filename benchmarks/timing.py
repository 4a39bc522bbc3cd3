"""How long calls take and how much memory a process holds."""

import ctypes
import gc
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
T = TypeVar("T")

MICRO = 1e6
"""Microseconds in a second."""
MILLI = 1e3
"""Milliseconds in a second."""
_PROC = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class Times:
    """How long each of several calls took, in seconds."""

    seconds: tuple[float, ...]

    @property
    def p50(self) -> float:
        """The median."""
        return float(np.percentile(self.seconds, 50))

    @property
    def p95(self) -> float:
        """What 95 % of the calls stay within."""
        return float(np.percentile(self.seconds, 95))

    @property
    def p99(self) -> float:
        """What 99 % of the calls stay within."""
        return float(np.percentile(self.seconds, 99))

    @property
    def mean(self) -> float:
        """The average, which rare costly calls are part of."""
        return float(np.mean(self.seconds))

    @property
    def longest(self) -> float:
        """The slowest call."""
        return max(self.seconds)


def once(call: Callable[[], T]) -> tuple[float, T]:
    """Return how long one call took, in seconds, and what it returned."""
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


def each(call: Callable[[int], object], count: int, *, seconds: float = float("inf")) -> Times:
    """Time ``call(0)``, ``call(1)`` and so on, until so many were made or so many seconds are over."""
    ends = time.perf_counter() + seconds
    taken = []
    for number in range(count):
        started = time.perf_counter()
        call(number)
        now = time.perf_counter()
        taken.append(now - started)
        if now > ends:
            break
    return Times(tuple(taken))


def interleaved(
    calls: Mapping[str, Callable[[int], object]], count: int, *, block: int = 10, warm: int = 5
) -> dict[str, Times]:
    """Time several calls on the numbers below ``count``, in turns of a block each, so that what disturbs one disturbs all.

    :param warm: how many calls come first that do not count.
    """
    for call in calls.values():
        for number in range(min(warm, count)):
            call(number)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for start in range(0, count, block):
        for name, call in calls.items():
            for number in range(start, min(start + block, count)):
                started = time.perf_counter()
                call(number)
                taken[name].append(time.perf_counter() - started)
    return {name: Times(tuple(seconds)) for name, seconds in taken.items()}


def in_own_process(function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Call a function of a module in a fresh Python, so that the memory it takes is its own."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments, **options).result()


def memory_is_shown() -> bool:
    """Whether this system tells a process its memory in /proc."""
    return (_PROC / "statm").exists()


def resident_bytes(*, tidy: bool = True) -> int:
    """Return the memory that this process holds now.

    :param tidy: give back what is free before.
    """
    if tidy:
        gc.collect()
        if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
            libc.malloc_trim(0)
    return int((_PROC / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_bytes() -> int:
    """Return the most memory that this process ever held.

    Not ``ru_maxrss``: on Linux a new process begins with the one of whoever started it.
    """
    line = next(line for line in (_PROC / "status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def shortened(texts: Sequence[T], count: int) -> list[T]:
    """Return so many of them, spread over all."""
    return [texts[number * len(texts) // count] for number in range(min(count, len(texts)))]
