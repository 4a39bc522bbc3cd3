"""What happens when, on trio's clock: far cheaper than a task for each thing that is on its way."""

import heapq
import math
from collections.abc import Callable
from itertools import count
from typing import Final

import trio

GRAIN: Final = 0.0005
"""Seconds: what happens within so little happens together, for each wake-up of a virtual clock costs as much as a message."""


class Timetable:
    """Calls that wait for their time. They must not raise."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._number = count()
        self._next = math.inf
        self._earlier = trio.Event()

    def after(self, seconds: float, call: Callable[[], object]) -> None:
        """Have something called so much later."""
        self.at(trio.current_time() + seconds, call)

    def at(self, time: float, call: Callable[[], object]) -> None:
        """Have something called at a time; two of one time in the order in which they were given."""
        time = math.ceil(time / GRAIN) * GRAIN
        heapq.heappush(self._due, (time, next(self._number), call))
        if time < self._next:
            self._earlier.set()

    async def run(self) -> None:
        """Call them, until cancelled."""
        while True:
            now = trio.current_time()
            while self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2]()
            self._earlier = trio.Event()
            self._next = self._due[0][0] if self._due else math.inf
            with trio.move_on_at(self._next):
                await self._earlier.wait()
            self._next = -math.inf
