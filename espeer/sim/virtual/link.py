"""A connection between two simulated hosts: how long what is sent over it takes, and the streams on it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio
from libp2p.network.stream.exceptions import StreamClosed, StreamEOF, StreamReset
from libp2p.peer.id import ID
from libp2p.rcmgr import Direction

if TYPE_CHECKING:
    from espeer.sim.virtual.host import Host

OVERHEAD: Final = 70
"""Bytes that go with each thing sent: TCP and IP 40, Noise 18, Yamux 12."""
RESEND_SECONDS: Final = 0.2
"""TCP waits at least so long before it sends again what was lost (Linux)."""


@dataclass(frozen=True, slots=True)
class End:
    """One end of a connection, as libp2p shows it.

    :ivar peer_id: who is at the other end.
    """

    peer_id: ID
    direction: Direction

    @property
    def muxed_conn(self) -> "End":
        """The same."""
        return self


@dataclass(eq=False, slots=True)
class Link:
    """A connection.

    :ivar latency: seconds one way.
    """

    dialler: "Host"
    listener: "Host"
    latency: float
    up: bool = True
    streams: set["Stream"] = field(default_factory=set)

    def other(self, host: "Host") -> "Host":
        """Return who is at the other end."""
        return self.listener if host is self.dialler else self.dialler

    def end(self, host: "Host") -> End:
        """Return the connection as a host sees it."""
        direction = Direction.OUTBOUND if host is self.dialler else Direction.INBOUND
        return End(self.other(host).id, direction)

    def carry(self, sender: "Host", size: int, arrived: Callable[[], object], *, control: bool = False) -> None:
        """Bring a gossip message over; it may be lost. The receiver deals with it by itself, see :meth:`Host.attend`.

        :param control: it is none of the records, but about them.
        """
        air = sender.network.air
        sender.sent(size + OVERHEAD, self.other(sender), control=control)
        if not air.loses():
            sender.network.timetable.after(air.way(self.latency, size), lambda: arrived() if self.up else None)

    def seconds(self, sender: "Host", size: int) -> float:
        """Return how long a part of a stream takes; what is lost is sent again, and takes the longer."""
        air = sender.network.air
        sender.sent(size + OVERHEAD, self.other(sender), control=False)
        wait, again = 0.0, max(RESEND_SECONDS, 2 * self.latency)
        while air.loses():
            wait, again = wait + again, 2 * again
            sender.sent(size + OVERHEAD, self.other(sender), control=False)
        return wait + air.takes(self.latency, size)

    def cut(self) -> None:
        """End it and its streams, at both ends."""
        self.up = False
        for stream in tuple(self.streams):
            stream.fail()


class Stream:
    """One end of a stream. Use :func:`pair`.

    :ivar muxed_conn: the connection that it is on.
    """

    other: "Stream"

    def __init__(self, link: Link, here: "Host") -> None:
        self.muxed_conn: Final = link.end(here)
        self._link = link
        self._here = here
        self._buffer = bytearray()
        self._ended = self._failed = self._closed = False
        self._news = trio.lowlevel.ParkingLot()
        self._last = 0.0
        link.streams.add(self)

    async def read(self, n: int) -> bytes:
        """Return what came, at most ``n`` bytes.

        :raises StreamEOF: the other end closed it.
        :raises StreamReset: it broke.
        """
        while not self._buffer:
            if self._failed:
                raise StreamReset("the stream broke")
            if self._ended:
                raise StreamEOF("the other end closed the stream")
            await self._news.park()
        data = bytes(self._buffer[:n])
        del self._buffer[:n]
        return data

    async def write(self, data: bytes) -> None:
        """Send bytes; they arrive in the order in which they were sent. Nothing is held back.

        :raises StreamClosed: it broke, or is closed.
        """
        await trio.lowlevel.checkpoint()
        if self._failed or self._closed:
            raise StreamClosed("the stream is closed")
        self._send(len(data), lambda: self.other.arrive(data))

    async def close(self) -> None:
        """Send no more."""
        if not self._closed and not self._failed:
            self._closed = True
            self._send(0, self.other.end)
        self._forget()

    async def reset(self) -> None:
        """Break it off."""
        if not self._failed:
            self._send(0, self.other.fail)
        self.fail()

    def get_remote_address(self) -> tuple[str, int]:
        """Where the other end is."""
        return self._link.other(self._here).address

    def arrive(self, data: bytes) -> None:
        """Take what the other end sent."""
        self._buffer += data
        self._news.unpark_all()

    def end(self) -> None:
        """Note that no more will come."""
        self._ended = True
        self._news.unpark_all()

    def fail(self) -> None:
        """Note that it is broken."""
        self._failed = True
        self._news.unpark_all()
        self._forget()

    def _send(self, size: int, arrived: Callable[[], None]) -> None:
        due = max(self._last, trio.current_time() + self._link.seconds(self._here, size))
        self._last = due
        self._here.network.timetable.at(due, arrived)

    def _forget(self) -> None:
        self._link.streams.discard(self)


def pair(link: Link, opener: "Host") -> tuple[Stream, Stream]:
    """Make a stream: its ends at the host that opens it, and at the other."""
    one, other = Stream(link, opener), Stream(link, link.other(opener))
    one.other, other.other = other, one
    return one, other
