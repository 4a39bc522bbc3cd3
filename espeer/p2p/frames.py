"""Frames over a stream: a payload's length (4 bytes, big-endian) and the payload, within limits and in time."""

from typing import Final, Protocol

import trio

from espeer.errors import FrameTooLarge, NetworkError, SlowReader
from espeer.p2p.wire import MAX_FRAME

FRAME_SECONDS: Final = 15.0
"""How long sending or receiving one frame may take."""

_PREFIX: Final = 4
_CHUNK: Final = 64 * 1024


class Stream(Protocol):
    """The part of a libp2p stream that frames need. ``read`` returns at most ``n`` bytes, none at the end."""

    async def read(self, n: int, /) -> bytes:
        """Return 1 to ``n`` bytes; at the end b"" or an EOFError."""

    async def write(self, data: bytes, /) -> None:
        """Send all of ``data``."""


class Frames:
    """Frames over a stream.

    :param limit: the most bytes a payload may have, either way.
    :param remote: the IP address at the other end, where it is known.
    :ivar sent: bytes sent so far, lengths included.
    :ivar received: bytes received so far.
    """

    def __init__(self, stream: Stream, *, limit: int = MAX_FRAME, remote: str | None = None) -> None:
        self.remote = remote
        self.sent = self.received = 0
        self._stream = stream
        self._limit = limit
        self._buffer = bytearray()

    async def send(self, payload: bytes) -> None:
        """Send one frame.

        :raises SlowReader: the peer does not take it in time.
        """
        if len(payload) > self._limit:
            raise ValueError(f"frame of {len(payload)} bytes, at most {self._limit} are allowed")
        try:
            with trio.fail_after(FRAME_SECONDS):
                await self._stream.write(len(payload).to_bytes(_PREFIX, "big") + payload)
                self.sent += _PREFIX + len(payload)
        except trio.TooSlowError as error:
            raise SlowReader(f"the peer took nothing for {FRAME_SECONDS:g} s") from error

    async def receive(self) -> bytes:
        """Receive one frame.

        :raises FrameTooLarge: the peer announces more than the limit.
        :raises NetworkError: the stream ends, or the frame does not come in time.
        """
        try:
            with trio.fail_after(FRAME_SECONDS):
                size = int.from_bytes(await self._take(_PREFIX), "big")
                if size > self._limit:
                    raise FrameTooLarge(f"the peer announced a frame of {size} bytes, at most {self._limit} are allowed")
                return await self._take(size)
        except trio.TooSlowError as error:
            raise NetworkError(f"the peer sent nothing for {FRAME_SECONDS:g} s") from error

    async def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            try:
                data = await self._stream.read(_CHUNK)
            except EOFError as error:  # libp2p's StreamEOF: the remote end closed or reset the stream
                raise NetworkError("the peer ended the stream") from error
            if not data:
                raise NetworkError("the peer ended the stream")
            self._buffer += data
            self.received += len(data)
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken
