"""The work of an experiment: each piece is done once, however often it is stopped, and what is left is shown."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress

from espeer.sim.experiments.journal import Journal


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

    async def once(self, key: str, make: Callable[[], Awaitable[Any]]) -> Any:
        """Return what came of a piece of work; do it if that was not done before.

        :param key: names the piece and all that it depends on beside what the journal as a whole is about.
        """
        known = self.journal.get(key)
        if known is None:
            known = await make()
            self.journal.put(key, known)
        return known

    @contextmanager
    def phase(self, what: str, pieces: int) -> Iterator[Callable[[], None]]:
        """Show how far a phase of so many pieces is; call what this gives after each."""
        bar = self.progress.add_task(what, total=pieces)
        try:
            yield lambda: self.progress.advance(bar)
        finally:
            self.progress.stop_task(bar)
