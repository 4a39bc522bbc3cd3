"""What peers say to each other, as bytes: msgpack within limits, and batches of records (pure).

Everything here that reads refuses what is over a limit before it takes memory for it, and refuses with an error of
:mod:`espeer.errors`.
"""

from collections.abc import Sequence
from typing import Any, Final, NoReturn

import msgpack

from espeer import records
from espeer.errors import FrameTooLarge, ProtocolError
from espeer.records import SignedRecord

MAX_FRAME: Final = 1024 * 1024
"""The most bytes a frame's payload may have."""
MAX_BATCH: Final = 64 * 1024
"""The most bytes a gossip message may have."""
MAX_BATCH_RECORDS: Final = 64
"""The most records a gossip message may hold."""
MAX_ARRAYS: Final = 256
"""The most arrays that a message may be made of, those within others included."""

_ARRAY_HEADER: Final = 3
_BIN_HEADER: Final = 3


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
