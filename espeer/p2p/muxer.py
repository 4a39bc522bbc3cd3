"""Yamux that holds its peer to the rules: bounded streams, bytes and frames, and no peer that reads nothing.

py-libp2p's keeps what a peer sends beyond its window, opens as many streams as a peer likes, and waits for ever to write.
"""

import struct
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio
from libp2p.abc import IMuxedStream, ISecureConn
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedStreamError
from libp2p.stream_muxer.yamux.yamux import FLAG_SYN, TYPE_PING, YAMUX_HEADER_FORMAT, Yamux

from espeer.errors import EspeerError, Flooding, FrameTooLarge, SlowReader
from espeer.p2p.limits import Bucket

MAX_INBOUND: Final = 32
"""Streams of all protocols that a peer may have open to us on one connection."""
OPENS: Final = 50.0
OPENS_BURST: Final = 200.0
"""Streams a second that a peer may open; it waits when it opens more."""
MAX_WINDOW: Final = 1024 * 1024
"""The most bytes that a peer may send ahead on a stream, and in one frame."""
MAX_UNREAD: Final = 16 * 1024 * 1024
"""The most bytes that all streams of a connection may hold unread. Peers that keep to their windows stay far below it."""
FRAMES: Final = 1000.0
FRAMES_BURST: Final = 4000.0
"""Frames a second, where each :data:`FRAME_BYTES` count as one more, that are read from a connection."""
FRAME_BYTES: Final = 64 * 1024
STALL_SECONDS: Final = 30.0
"""How long a peer may take nothing at all, or leave a ping unanswered, before the connection is closed."""
PING_INTERVAL: Final = 15.0

_CLOSE_SECONDS: Final = 1.0


class SafeYamux(Yamux):
    """A connection's streams.

    :ivar blame: called with what the peer does wrong.
    """

    def __init__(
        self,
        secured_conn: ISecureConn,
        peer_id: ID,
        is_initiator: bool | None = None,
        on_close: Callable[[], Awaitable[Any]] | None = None,
    ) -> None:
        super().__init__(secured_conn, peer_id, is_initiator, on_close)
        self.blame: Callable[[EspeerError], None] = lambda _error: None
        now = trio.current_time()
        self._opens = Bucket(OPENS, OPENS_BURST, now)
        self.frames = Bucket(FRAMES, FRAMES_BURST, now)
        pace(secured_conn, self.frames)

    async def accept_stream(self) -> IMuxedStream:
        """Wait for a stream of the peer's. Fault closed: a peer could open streams until memory, or the host's total, ends."""
        while True:
            stream = await super().accept_stream()
            await trio.sleep(self._opens.owe(trio.current_time(), 1))
            if sum(not other.is_initiator and not other.closed for other in self.streams.values()) <= MAX_INBOUND:
                return stream
            self.blame(Flooding(f"more than {MAX_INBOUND} streams at a time"))
            await stream.reset()

    async def _read_data_body(self, length: int) -> bytes:
        """Read a frame's bytes. Fault closed: a window that is exceeded is only logged, so a peer could fill our memory."""
        if length + sum(map(len, self.stream_buffers.values())) > MAX_UNREAD:
            self.blame(FrameTooLarge("more bytes than the windows of its streams allow"))
            raise trio.TooSlowError  # what ends the connection from here, whatever frame it was
        return await super()._read_data_body(length)

    async def _write_frame(self, data: bytes) -> None:
        """Write a frame. Fault closed: a peer whose socket is full holds whoever writes to it for ever."""
        with trio.move_on_after(STALL_SECONDS) as waiting:
            await super()._write_frame(data)
        if waiting.cancelled_caught:
            if not self.event_shutting_down.is_set():
                self.blame(SlowReader(f"took nothing for {STALL_SECONDS:g} s"))
            await self.hang_up()
            raise MuxedStreamError("the peer takes nothing")

    async def _measure_rtt_loop(self) -> None:
        """Ping the peer for as long as it answers. Fault closed: one that is stopped stays connected for ever."""
        while True:
            self._ping_id += 1
            self._ping_event = trio.Event()
            self._ping_sent_time = trio.current_time()
            try:
                await self._write_frame(struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_PING, FLAG_SYN, 0, self._ping_id & 0xFFFFFFFF))
            except Exception:  # noqa: BLE001 - the connection is gone, in whatever way
                return
            with trio.move_on_after(STALL_SECONDS) as waiting:
                await self._ping_event.wait()
            if waiting.cancelled_caught:
                await self.hang_up()
                return
            await trio.sleep(PING_INTERVAL)

    async def hang_up(self) -> None:
        """Close the socket without a word; what reads from it finds out and cleans up."""
        with trio.CancelScope(shield=True), trio.move_on_after(_CLOSE_SECONDS):
            await self.secured_conn.close()


def pace(connection: ISecureConn, frames: Bucket) -> None:
    """Have whoever reads from ``connection`` wait for its share. Fault closed: a peer could keep us busy with empty frames."""
    read = connection.read

    async def paced(n: int | None = None) -> bytes:
        data = await read(n)
        if wait := frames.owe(trio.current_time(), 1 + len(data) / FRAME_BYTES):
            await trio.sleep(wait)
        return data

    connection.read = paced  # type: ignore[method-assign] # it has no other seam
