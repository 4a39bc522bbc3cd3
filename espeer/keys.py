"""A sorted set of keys that tells the fingerprint of any stretch of itself quickly, as set reconciliation needs it (pure).

A key is a record's age stamp and its id, so the set is sorted from the newest record to the oldest.
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from espeer.records import ID_SIZE, MAX_CREATED_MS

STAMP_SIZE: Final = 8
KEY_SIZE: Final = STAMP_SIZE + ID_SIZE
FINGERPRINT_SIZE: Final = 16

_CHUNK: Final = 128
_SUM_SIZE: Final = 32
_MODULUS: Final = 2 ** (8 * _SUM_SIZE)


def key_of(created: int, id: bytes) -> bytes:
    """The key of a record: how long before the end of time it was created, 8 bytes big-endian, and its id."""
    return (MAX_CREATED_MS - 1 - created).to_bytes(STAMP_SIZE, "big") + id


def varint(number: int) -> bytes:
    """Negentropy's variable-length integer: 7 bits a byte, the highest first, the top bit set on all but the last."""
    digits = bytearray([number & 0x7F])
    while number := number >> 7:
        digits.append(number & 0x7F | 0x80)
    digits.reverse()
    return bytes(digits)


@dataclass(frozen=True, slots=True)
class Offer:
    """What another node may have of the records that it asks for.

    :ivar records: encoded, in any order.
    :ivar gone: keys of those whose text is not kept, or was taken back by its author. Those that are unknown are in neither.
    """

    records: list[bytes]
    gone: list[bytes]


class Keys:
    """The keys of a :class:`KeySet` at one moment.

    :param chunks: sorted, not empty, none overlapping another; nobody changes one any more.
    :param heads: the first key of each.
    :param sums: the sum of the ids of each, as little-endian numbers.
    """

    def __init__(self, chunks: Sequence[list[bytes]], heads: Sequence[bytes], sums: Sequence[int]) -> None:
        self._parts = (list(chunks), list(heads), list(sums))
        self._chunks, self._heads, _ = self._parts
        self._starts = [0, *accumulate(map(len, chunks))]
        self._sums = [0, *accumulate(sums)]

    def parts(self) -> tuple[list[list[bytes]], list[bytes], list[int]]:
        """Return the chunks, the first key of each, and the sum of the ids of each."""
        chunks, heads, sums = self._parts
        return list(chunks), list(heads), list(sums)

    def __len__(self) -> int:
        """Return the number of keys."""
        return self._starts[-1]

    def __getitem__(self, index: int) -> bytes:
        """Return the key at a place, the newest record's at 0."""
        chunk = bisect_right(self._starts, index) - 1
        return self._chunks[chunk][index - self._starts[chunk]]

    def find(self, bound: bytes) -> int:
        """Return how many keys come before ``bound``, which may be a key or the beginning of one."""
        chunk = max(0, bisect_left(self._heads, bound) - 1)
        return self._starts[chunk] + bisect_left(self._chunks[chunk], bound) if self._chunks else 0

    def ids(self, lower: int = 0, upper: int | None = None) -> Iterator[bytes]:
        """Iterate over the ids at the places from ``lower`` to before ``upper``, by default all."""
        upper = len(self) if upper is None else upper
        return (key[STAMP_SIZE:] for key in self._stretch(lower, upper))

    def fingerprint(self, lower: int, upper: int) -> bytes:
        """Return the fingerprint of the keys at these places: Negentropy V1's, over their ids and their number."""
        total = (self._sum_before(upper) - self._sum_before(lower)) % _MODULUS
        return hashlib.sha256(total.to_bytes(_SUM_SIZE, "little") + varint(upper - lower)).digest()[:FINGERPRINT_SIZE]

    def _sum_before(self, index: int) -> int:
        chunk = bisect_right(self._starts, index) - 1
        rest = index - self._starts[chunk]
        return self._sums[chunk] + (_sum(self._chunks[chunk][:rest]) if rest else 0)

    def _stretch(self, lower: int, upper: int) -> Iterator[bytes]:
        chunk = bisect_right(self._starts, lower) - 1
        while lower < upper:
            start = self._starts[chunk]
            yield from self._chunks[chunk][lower - start : upper - start]
            chunk += 1
            lower = self._starts[chunk]


class KeySet:
    """Keys that come and go. A snapshot costs next to nothing, and later changes do not touch it."""

    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        ordered = sorted(set(keys))
        self._chunks = [ordered[start : start + _CHUNK] for start in range(0, len(ordered), _CHUNK)]
        self._heads = [chunk[0] for chunk in self._chunks]
        self._sums = [_sum(chunk) for chunk in self._chunks]
        self._size = len(ordered)
        self._snapshot: Keys | None = None

    @classmethod
    def of(cls, keys: Keys) -> "KeySet":
        """A set of the same keys, at next to no cost."""
        same = cls()
        same._chunks, same._heads, same._sums = keys.parts()
        same._size = len(keys)
        return same

    def add(self, key: bytes) -> None:
        """Add a key; one that is there already is passed over."""
        place = max(0, bisect_right(self._heads, key) - 1)
        chunk = self._chunks[place] if self._chunks else []
        index = bisect_left(chunk, key)
        if index < len(chunk) and chunk[index] == key:
            return
        longer = [*chunk[:index], key, *chunk[index:]]  # a new list: a snapshot may hold the old one
        parts = [longer] if len(longer) <= 2 * _CHUNK else [longer[:_CHUNK], longer[_CHUNK:]]
        self._heads[place : place + 1] = [part[0] for part in parts]
        grown = [self._sums[place] + _sum([key])] if chunk and len(parts) == 1 else map(_sum, parts)
        self._sums[place : place + 1] = grown
        self._chunks[place : place + 1] = parts
        self._size += 1
        self._snapshot = None

    def discard(self, key: bytes) -> None:
        """Take a key away; one that is not there is passed over."""
        place = max(0, bisect_right(self._heads, key) - 1)
        chunk = self._chunks[place] if self._chunks else []
        index = bisect_left(chunk, key)
        if index == len(chunk) or chunk[index] != key:
            return
        shorter = [*chunk[:index], *chunk[index + 1 :]]  # a new list, as in add
        parts = [shorter] if shorter else []
        self._heads[place : place + 1] = [part[0] for part in parts]
        self._sums[place : place + 1] = [self._sums[place] - _sum([key]) for _ in parts]
        self._chunks[place : place + 1] = parts
        self._size -= 1
        self._snapshot = None

    def __len__(self) -> int:
        """Return the number of keys."""
        return self._size

    def snapshot(self) -> Keys:
        """Return the keys as they are now."""
        if self._snapshot is None:
            self._snapshot = Keys(self._chunks, self._heads, self._sums)
        return self._snapshot


def _sum(keys: list[bytes]) -> int:
    return sum(int.from_bytes(key[STAMP_SIZE:], "little") for key in keys)
