"""What goes over the wire: length-prefixed frames, msgpack within limits, and batches of records.

A frame is its length (4 bytes, big-endian) and that many bytes. Everything here that reads refuses what is over a limit
before it takes memory for it, and refuses with an error of :mod:`espeer.errors`.
"""

from collections.abc import Sequence
from typing import Any, Final, NoReturn, Protocol

import msgpack
import trio

from espeer import records
from espeer.errors import FrameTooLarge, NetworkError, ProtocolError, SlowReader
from espeer.records import SignedRecord

MAX_FRAME: Final = 1024 * 1024
"""The most bytes a frame's payload may have."""
MAX_BATCH: Final = 64 * 1024
"""The most bytes a gossip message may have."""
MAX_BATCH_RECORDS: Final = 64
"""The most records a gossip message may hold."""
MAX_ARRAYS: Final = 256
"""The most arrays that a message may be made of, those within others included."""

_PREFIX: Final = 4
_CHUNK: Final = 64 * 1024
_ARRAY_HEADER: Final = 3
_BIN_HEADER: Final = 3


class Stream(Protocol):
    """The part of a libp2p stream that frames need. ``read`` returns at most ``n`` bytes, none at the end."""

    async def read(self, n: int, /) -> bytes:
        """Return 1 to ``n`` bytes; at the end b"" or an EOFError."""

    async def write(self, data: bytes, /) -> None:
        """Send all of ``data``."""


class Frames:
    """Frames over a stream.

    :param limit: the most bytes a payload may have, either way.
    :param timeout: seconds that sending or receiving one frame may take.
    :param remote: the IP address at the other end, where it is known.
    :ivar sent: bytes sent so far, lengths included.
    :ivar received: bytes received so far.
    """

    def __init__(self, stream: Stream, *, limit: int = MAX_FRAME, timeout: float = 15.0, remote: str | None = None) -> None:
        self.remote = remote
        self.sent = self.received = 0
        self._stream = stream
        self._limit = limit
        self._timeout = timeout
        self._buffer = bytearray()

    async def send(self, payload: bytes) -> None:
        """Send one frame.

        :raises SlowReader: the peer does not take it in time.
        """
        if len(payload) > self._limit:
            raise ValueError(f"frame of {len(payload)} bytes, at most {self._limit} are allowed")
        try:
            with trio.fail_after(self._timeout):
                await self._stream.write(len(payload).to_bytes(_PREFIX, "big") + payload)
                self.sent += _PREFIX + len(payload)
        except trio.TooSlowError as error:
            raise SlowReader(f"the peer took nothing for {self._timeout:g} s") from error

    async def receive(self) -> bytes:
        """Receive one frame.

        :raises FrameTooLarge: the peer announces more than the limit.
        :raises NetworkError: the stream ends, or the frame does not come in time.
        """
        try:
            with trio.fail_after(self._timeout):
                size = int.from_bytes(await self._take(_PREFIX), "big")
                if size > self._limit:
                    raise FrameTooLarge(f"the peer announced a frame of {size} bytes, at most {self._limit} are allowed")
                return await self._take(size)
        except trio.TooSlowError as error:
            raise NetworkError(f"the peer sent nothing for {self._timeout:g} s") from error

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


def pack(value: Any) -> bytes:
    """``value`` as msgpack."""
    data: bytes = msgpack.packb(value)
    return data


def unpack(data: bytes, *, max_items: int = MAX_BATCH_RECORDS, max_str: int = 1024) -> Any:
    """Read msgpack from a peer: no maps, no extensions, at most :data:`MAX_ARRAYS` arrays of at most ``max_items``.

    :param max_str: the most bytes of a string.
    :raises ProtocolError: anything else.
    """
    arrays = 0

    def count(array: list[Any]) -> list[Any]:
        nonlocal arrays
        arrays += 1
        if arrays > MAX_ARRAYS:  # an empty one is a byte on the wire and 64 in memory
            raise ValueError("too many arrays")
        return array

    try:
        return msgpack.unpackb(
            data,
            max_str_len=max_str,
            max_bin_len=MAX_FRAME,
            max_array_len=max_items,
            max_map_len=0,
            max_ext_len=0,
            list_hook=count,
            object_hook=_refuse_map,
        )
    except (ValueError, msgpack.UnpackException) as error:
        raise ProtocolError(f"the peer sent no msgpack within the limits: {error}") from error


def _refuse_map(_: dict[Any, Any]) -> NoReturn:
    raise ValueError("a map")  # an empty one is within any limit


def encode_batch(batch: Sequence[SignedRecord]) -> list[bytes]:
    """As few gossip messages as hold ``batch``, in order, each within :data:`MAX_BATCH` and :data:`MAX_BATCH_RECORDS`."""
    messages: list[list[bytes]] = []
    room = 0
    for signed in batch:
        data = records.encode(signed)
        size = len(data) + _BIN_HEADER
        if size > room or len(messages[-1]) == MAX_BATCH_RECORDS:
            messages.append([])
            room = MAX_BATCH - _ARRAY_HEADER
        messages[-1].append(data)
        room -= size
    return [pack(message) for message in messages]


def load_batch(data: bytes) -> list[SignedRecord]:
    """Read a gossip message. Nothing is verified: :func:`espeer.records.verify` does that.

    There is one way to write a message, too. A message that some nodes take and others refuse would turn these on those that
    pass it on.

    :raises ProtocolError: not an array of 1 to :data:`MAX_BATCH_RECORDS` byte strings, over :data:`MAX_BATCH`, or
        not in its shortest form.
    :raises RecordError: one of the records is malformed, and so all are refused.
    """
    if len(data) > MAX_BATCH:
        raise FrameTooLarge(f"a gossip message has {len(data)} bytes, at most {MAX_BATCH} are allowed")
    encoded = byte_strings(unpack(data))
    if pack(encoded) != data:
        raise ProtocolError("a gossip message is not in canonical form")
    return [records.load(item) for item in encoded]


def byte_strings(value: Any) -> list[bytes]:
    """``value``, if it is a non-empty list of byte strings.

    :raises ProtocolError: it is not.
    """
    if not isinstance(value, list) or not value or not all(type(item) is bytes for item in value):
        raise ProtocolError("the peer sent something else than a list of byte strings")
    return value
