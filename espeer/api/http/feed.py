"""Collects what happens in a node, and hands it to those who watch over HTTP, each at its own pace."""

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import trio

from espeer.api import verbs
from espeer.api.http.history import History
from espeer.api.http.served import Served
from espeer.errors import EspeerError
from espeer.events import Event, Linked, Recorded, Refined
from espeer.log import get_logger

MAX_WATCHERS: Final = 16
REMEMBERED: Final = 256
"""The events that whoever comes back is still told of, and the most that wait for one who is slow."""
LOOK_SECONDS: Final = 2.0
"""Between two looks at the status and the peers, while somebody watches."""
SAMPLE_SECONDS: Final = 5.0
"""Between two samples of the store's size, at least."""

_MAX_DIGITS: Final = 18

log = get_logger(__name__)


class TooManyWatchers(EspeerError):
    """As many clients watch the node as may."""


@dataclass(frozen=True, slots=True)
class Happening:
    """An event in the row of all.

    :ivar at: milliseconds since the Unix epoch.
    """

    number: int
    at: int
    event: Event


class Watcher:
    """What one client has yet to be told.

    :param missed: what happened since it was last here.
    :ivar lost: how many events it was too slow for, or away for too long.
    :ivar begins: whether it knows nothing yet.
    :ivar snapshots: how things stand, by name; only the latest is kept.
    :ivar closed: the node stops, and there will be no more.
    """

    def __init__(self, missed: list[Happening], *, lost: int, begins: bool) -> None:
        self.happenings = deque(missed, maxlen=REMEMBERED)
        self.lost = lost
        self.begins = begins
        self.snapshots: dict[str, Any] = {}
        self.closed = False
        self._news = trio.Event()

    def tell(self, happening: Happening) -> None:
        """Have it told of an event; where there is no room the oldest goes."""
        self.lost += len(self.happenings) == REMEMBERED
        self.happenings.append(happening)
        self._news.set()

    def show(self, name: str, snapshot: Any) -> None:
        """Have it told how something stands."""
        self.snapshots[name] = snapshot
        self._news.set()

    def close(self) -> None:
        """End it."""
        self.closed = True
        self._news.set()

    async def news(self, seconds: float) -> bool:
        """Wait until there is something to tell; return False if there was nothing for so many seconds."""
        with trio.move_on_after(seconds):
            await self._news.wait()
            self._news = trio.Event()
            return True
        return False


class Feed:
    """What happens in a node, for those who watch it.

    :param clock: milliseconds since the Unix epoch.
    """

    def __init__(self, served: Served, *, clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self.history = History()
        self._served = served
        self._clock = clock
        self._life = secrets.token_hex(4)  # numbers of an earlier start of the node mean nothing now
        self._number = 0
        self._last: deque[Happening] = deque(maxlen=REMEMBERED)
        self._watchers: set[Watcher] = set()
        self._snapshots: dict[str, Any] = {}
        self._grown = trio.Event()
        self._look = trio.Event()

    async def run(self) -> None:
        """Collect from when the node is up until it stops."""
        await self._served.is_up.wait()
        try:
            with self._served.node.events.listening(self._take):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch)
                    nursery.start_soon(self._sample)
                    await self._served.is_down.wait()
                    nursery.cancel_scope.cancel()
        finally:
            for watcher in self._watchers:
                watcher.close()

    @contextmanager
    def watched(self, last_id: str) -> Iterator[Watcher]:
        """Watch.

        :param last_id: the id of the last event that the client knows, or "".
        :raises TooManyWatchers: enough do.
        """
        if len(self._watchers) >= MAX_WATCHERS:
            raise TooManyWatchers(f"{MAX_WATCHERS} clients watch this node already; close one of its dashboards")
        if not self._watchers:
            self._snapshots.clear()  # nobody looked since
        watcher = self._watcher(last_id)
        watcher.snapshots.update(self._snapshots)
        self._watchers.add(watcher)
        self._look.set()
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    def id(self, number: int | None = None) -> str:
        """Return the id of an event; by default of the latest."""
        return f"{self._life}-{self._number if number is None else number}"

    def _watcher(self, last_id: str) -> Watcher:
        life, _, digits = last_id.partition("-")
        known = int(digits) if digits.isdecimal() and len(digits) <= _MAX_DIGITS else self._number + 1
        if life != self._life or known > self._number:
            return Watcher([], lost=0, begins=True)
        missed = [happening for happening in self._last if happening.number > known]
        return Watcher(missed, lost=self._number - known - len(missed), begins=False)

    def _take(self, event: Event) -> None:
        self._number += 1
        happening = Happening(self._number, self._clock(), event)
        self._last.append(happening)
        self.history.add(happening.at, event)
        for watcher in self._watchers:
            watcher.tell(happening)
        if isinstance(event, Linked):
            self._look.set()
        elif isinstance(event, Recorded | Refined):
            self._grown.set()

    async def _watch(self) -> None:
        """Look how things stand, as long as somebody wants to know."""
        while True:
            self._look = trio.Event()
            if self._watchers:
                await self._see()
                with trio.move_on_after(LOOK_SECONDS):
                    await self._look.wait()
            else:
                await self._look.wait()

    async def _see(self) -> None:
        try:
            node = self._served.node
            seen = {"peers": await verbs.Peers().do(node), "status": await verbs.Status().do(node)}
        except EspeerError as error:  # the disk, say: the next look may do better; or the node is being stopped
            log.debug("cannot see how the node stands", reason=str(error))
            return
        for name, snapshot in seen.items():
            if snapshot != self._snapshots.get(name):
                self._snapshots[name] = snapshot
                for watcher in self._watchers:
                    watcher.show(name, snapshot)

    async def _sample(self) -> None:
        """Note how large the store is: at the start, and when it may have grown."""
        while True:
            self._grown = trio.Event()
            try:
                self.history.sample(self._clock(), await self._served.node.status())
            except EspeerError as error:
                log.debug("cannot measure the store", reason=str(error))
            await trio.sleep(SAMPLE_SECONDS)
            await self._grown.wait()
