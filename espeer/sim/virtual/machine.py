"""The cores of a simulated machine: who works on them at the same time gets the less of them."""

from typing import Final

import trio

SLICE: Final = 0.005
"""Seconds after which it is looked again who else works."""


class Machine:
    """A machine with so many cores, on which models with so many threads each run.

    :param cores: 0 for as many as are wanted: a machine for each model.
    """

    def __init__(self, cores: int = 0, threads: int = 1) -> None:
        self._cores = cores
        self._threads = threads
        self._working = 0

    async def work(self, seconds: float) -> None:
        """Let the time pass that so much work takes here."""
        if not self._cores:
            await trio.sleep(seconds)
            return
        self._working += 1
        try:
            while seconds > 0:
                share = min(seconds, SLICE)
                await trio.sleep(share * max(1.0, self._working * self._threads / self._cores))
                seconds -= share
        finally:
            self._working -= 1
