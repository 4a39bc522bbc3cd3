"""The work of an experiment: each piece is done once, however often it is stopped, and what is left is shown."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import trio
from rich.progress import Progress

from espeer.sim.experiments.journal import Journal

AT_ONCE: Final = 8
"""So many pieces are worked on at the same time: the model writes for several at less than the cost of one after the other."""

P = TypeVar("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Work:
    """What an experiment works with.

    :ivar journal: what is done.
    :ivar data: the folder of the data sets, if there is one.
    :ivar progress: where it is shown.
    """

    journal: Journal
    data: Path | None
    progress: Progress
    _making: dict[str, trio.Lock] = field(default_factory=dict)

    async def once(self, key: str, make: Callable[[], Awaitable[Any]]) -> Any:
        """Return what came of a piece of work; do it if that was not done before. Who asks for it meanwhile waits for it.

        :param key: names the piece and all that it depends on beside what the journal as a whole is about.
        """
        async with self._making.setdefault(key, trio.Lock()):
            known = self.journal.get(key)
            if known is None:
                known = await make()
                self.journal.put(key, known)
            return known

    async def each(self, what: str, pieces: Iterable[P], do: Callable[[P], Awaitable[R]]) -> list[R]:
        """Do the same with each piece, some at the same time, and show how far that is; return what came of them, in order.

        :param what: the phase's name.
        """
        todo = list(pieces)
        with self.phase(what, len(todo)) as tick:
            return await together(todo, do, tick)

    @contextmanager
    def phase(self, what: str, pieces: int) -> Iterator[Callable[[], None]]:
        """Show how far a phase of so many pieces is; call what this gives after each."""
        bar = self.progress.add_task(what, total=pieces)
        try:
            yield lambda: self.progress.advance(bar)
        finally:
            self.progress.stop_task(bar)


async def together(pieces: Sequence[P], do: Callable[[P], Awaitable[R]], tick: Callable[[], None]) -> list[R]:
    """Do the same with each piece, :data:`AT_ONCE` at the same time; return what came of them, in order.

    :param tick: called after each.
    """
    results: dict[int, R] = {}
    waiting = list(enumerate(pieces))[::-1]

    async def take() -> None:
        while waiting:
            place, piece = waiting.pop()
            results[place] = await do(piece)
            tick()

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(take)
    return [results[place] for place in range(len(pieces))]
