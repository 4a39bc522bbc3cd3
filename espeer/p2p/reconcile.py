"""Range-based set reconciliation: two peers find out cheaply in what their sets of keys differ (pure).

The messages are those of Negentropy, protocol version 1 (https://github.com/hoytech/negentropy). Its timestamp is our age
stamp (see :mod:`espeer.keys`), so what is newest comes first. Whoever begins sends :func:`opening`, the other side answers
each message with :func:`answer` and keeps nothing in mind, and the beginner reads each answer with :func:`compare`, which
gives the next message, until there is none. The sets may grow meanwhile.

A message is the version byte and ranges, each of them an upper bound (the lower one is where the range before ended), a mode
and what goes with it. Nothing that a message says can make a call take more time than a few passes over our own keys, or make
an answer larger than the limit and one range.
"""

from dataclasses import dataclass, field
from typing import Final

from espeer.errors import ProtocolError
from espeer.keys import FINGERPRINT_SIZE, STAMP_SIZE, Keys, varint
from espeer.records import ID_SIZE

VERSION: Final = b"\x61"
MAX_MESSAGE: Final = 64 * 1024
"""The most bytes of a message that is read."""
LIMIT: Final = 32 * 1024
"""The most bytes of a message that is written; what there is no room for is told by one fingerprint, for later messages."""

SKIP: Final = 0
FINGERPRINT: Final = 1
IDS: Final = 2

_BUCKETS: Final = 16
_ROOM: Final = 200  # what the last range of a message takes, with room to spare
_INFINITY: Final = b"\xff" * (STAMP_SIZE + 1)  # above every key
_MAX_VARINT: Final = 10


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a message of the peer told us.

    :ivar need: ids that it has and we have not, newest first.
    :ivar have: ids that we have and it has not, as far as this message tells, newest first.
    :ivar reply: what to send next; None when nothing is left to find out.
    """

    need: list[bytes]
    have: list[bytes]
    reply: bytes | None


def opening(keys: Keys) -> bytes:
    """Return the first message."""
    out = _Writer()
    _split(keys, 0, len(keys), _INFINITY, out)
    return bytes(out.data)


def answer(keys: Keys, message: bytes, *, limit: int = LIMIT) -> bytes:
    """Return the answer to a message of a peer that began.

    :raises ProtocolError: it is none.
    """
    if message[:1] != VERSION and b"\x60" <= message[:1] <= b"\x6f":
        return VERSION  # another version of the protocol; this one tells ours
    out = _Writer()
    _walk(keys, message, out, limit, None)
    return bytes(out.data)


def compare(keys: Keys, message: bytes, *, limit: int = LIMIT) -> Comparison:
    """Read a peer's answer.

    :raises ProtocolError: it is none.
    """
    out = _Writer()
    found = _Found()
    _walk(keys, message, out, limit, found)
    return Comparison(found.need, found.have, bytes(out.data) if len(out.data) > len(VERSION) else None)


@dataclass(slots=True)
class _Found:
    need: list[bytes] = field(default_factory=list)
    have: list[bytes] = field(default_factory=list)


class _Writer:
    """A message in the making; ranges that need no word are told by one skip when another one follows."""

    def __init__(self) -> None:
        self.data = bytearray(VERSION)
        self._stamp = 0
        self._skipped: bytes | None = None

    def skip(self, bound: bytes) -> None:
        self._skipped = bound

    def range(self, bound: bytes, mode: int, payload: bytes) -> None:
        if self._skipped is not None:
            self._put(self._skipped, SKIP, b"")
            self._skipped = None
        self._put(bound, mode, payload)

    def _put(self, bound: bytes, mode: int, payload: bytes) -> None:
        if bound == _INFINITY:
            self.data += b"\0\0"
        else:
            stamp = int.from_bytes(bound[:STAMP_SIZE], "big")
            self.data += varint(stamp - self._stamp + 1) + varint(len(bound) - STAMP_SIZE) + bound[STAMP_SIZE:]
            self._stamp = stamp
        self.data += varint(mode) + payload


class _Reader:
    """Takes a message apart."""

    def __init__(self, message: bytes) -> None:
        if len(message) > MAX_MESSAGE:
            raise ProtocolError(f"a reconciliation message has {len(message)} bytes, at most {MAX_MESSAGE} are allowed")
        if message[:1] != VERSION:
            raise ProtocolError("the peer's reconciliation message is not of Negentropy's protocol version 1")
        self._data = message
        self._at = 1
        self._stamp = 0

    @property
    def more(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        part = self._data[self._at : self._at + size]
        if len(part) < size:
            raise ProtocolError("the peer's reconciliation message ends too early")
        self._at += size
        return part

    def varint(self) -> int:
        number = 0
        for _ in range(_MAX_VARINT):
            (byte,) = self.take(1)
            number = number << 7 | byte & 0x7F
            if not byte & 0x80:
                return number
        raise ProtocolError("a number in the peer's reconciliation message has no end")

    def bound(self) -> bytes:
        step, size = self.varint(), self.varint()
        if size > ID_SIZE:
            raise ProtocolError("a bound in the peer's reconciliation message is longer than an id")
        prefix = self.take(size)
        if not step:
            return _INFINITY
        self._stamp += step - 1
        if self._stamp >= 1 << 8 * STAMP_SIZE:
            raise ProtocolError("a bound in the peer's reconciliation message is beyond all numbers")
        return self._stamp.to_bytes(STAMP_SIZE, "big") + prefix

    def ids(self) -> list[bytes]:
        data = self.take(self.varint() * ID_SIZE)
        return [data[start : start + ID_SIZE] for start in range(0, len(data), ID_SIZE)]


def _walk(keys: Keys, message: bytes, out: _Writer, limit: int, found: _Found | None) -> None:
    """Go through the ranges of a message and write the next one.

    :param found: what it tells, for the peer that began; the other one passes None, and tells its own ids instead.
    """
    read = _Reader(message)
    lower = 0
    while read.more:
        bound, mode = read.bound(), read.varint()
        upper = max(lower, len(keys) if bound == _INFINITY else keys.find(bound))
        if mode == FINGERPRINT:
            theirs = read.take(FINGERPRINT_SIZE)
            if theirs == keys.fingerprint(lower, upper):
                out.skip(bound)
            else:
                _split(keys, lower, upper, bound, out)
        elif mode == IDS:
            listed = read.ids()
            if found is None:
                upper, bound = _list(keys, lower, upper, bound, out, limit=limit)
            else:
                mine, claimed = set(keys.ids(lower, upper)), set(listed)
                found.have += [id_ for id_ in keys.ids(lower, upper) if id_ not in claimed]
                found.need += [id_ for id_ in dict.fromkeys(listed) if id_ not in mine]
                out.skip(bound)
        elif mode == SKIP:
            out.skip(bound)
        else:
            raise ProtocolError("a range in the peer's reconciliation message is of an unknown mode")
        if len(out.data) > limit - _ROOM and bound != _INFINITY:
            out.range(_INFINITY, FINGERPRINT, keys.fingerprint(upper, len(keys)))
            return
        lower = upper


def _split(keys: Keys, lower: int, upper: int, bound: bytes, out: _Writer) -> None:
    """Tell of a range of ours: its ids if there are few, else the fingerprints of its parts."""
    size = upper - lower
    if size < 2 * _BUCKETS:
        out.range(bound, IDS, varint(size) + b"".join(keys.ids(lower, upper)))
        return
    each, extra = divmod(size, _BUCKETS)
    for bucket in range(_BUCKETS):
        end = lower + each + (bucket < extra)
        out.range(bound if end == upper else _between(keys[end - 1], keys[end]), FINGERPRINT, keys.fingerprint(lower, end))
        lower = end


def _list(keys: Keys, lower: int, upper: int, bound: bytes, out: _Writer, *, limit: int) -> tuple[int, bytes]:
    """Tell the ids of a range, as many as there is room for; return where that ends."""
    room = max(1, (limit - _ROOM - len(out.data)) // ID_SIZE + 1)
    if upper - lower > room:
        upper = lower + room
        bound = keys[upper]
    out.range(bound, IDS, varint(upper - lower) + b"".join(keys.ids(lower, upper)))
    return upper, bound


def _between(before: bytes, after: bytes) -> bytes:
    """Return the shortest bound that parts two keys."""
    if before[:STAMP_SIZE] != after[:STAMP_SIZE]:
        return after[:STAMP_SIZE]
    size = next(place for place in range(STAMP_SIZE, len(after)) if before[place] != after[place])
    return after[: size + 1]
