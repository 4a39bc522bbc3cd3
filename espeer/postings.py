"""Which documents hold which terms, and which terms a document holds; and how that is packed (pure)."""

from array import array
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

MAX_OCCURRENCES: Final = 2**16 - 1
"""A term counts as often in one document, at most."""

_FORWARD: Final = 6  # bytes of a term in a document's own list: its number (uint32) and its occurrences (uint16)

Numbers = array | bytes  # type: ignore[type-arg]  # array takes no argument at run time in 3.11
"""A list of machine numbers: as it came from disk, until something is added to it or taken out of it."""


@dataclass(frozen=True, slots=True)
class Dump:
    """What an index holds, in few large pieces: see :mod:`espeer.snapshot`."""

    strings: dict[str, list[str]]
    arrays: dict[str, NDArray[Any]]


class Postings:
    """By the number of a term, the documents that hold it, by their slots.

    :ivar terms: the term itself.
    :ivar ones: the slots (uint32) of the documents that hold it once, in no order.
    :ivar more: the slots of those that hold it more often.
    :ivar occurrences: how often (uint16), beside ``more``.
    """

    def __init__(self, terms: list[str], ones: list[Numbers], more: list[Numbers], occurrences: list[Numbers]) -> None:
        self.terms = terms
        self.ones = ones
        self.more = more
        self.occurrences = occurrences

    def __len__(self) -> int:
        """Return how many numbers there are."""
        return len(self.terms)

    def append(self, term: str) -> None:
        """Give the next number to a term."""
        self.terms.append(term)
        for lists in (self.ones, self.more, self.occurrences):
            lists.append(b"")

    def add(self, slot: int, numbers: Sequence[int], occurrences: Sequence[int]) -> None:
        """Note that a document holds these terms, so often."""
        ones = self.ones
        for number, occurs in zip(numbers, occurrences, strict=True):
            if occurs > 1:
                _changeable(self.more, number, "I").append(slot)
                _changeable(self.occurrences, number, "H").append(occurs)
                continue
            slots = ones[number]
            if isinstance(slots, bytes):
                slots = ones[number] = array("I", slots)
            slots.append(slot)

    def remove(self, slot: int, numbers: Sequence[int], occurrences: Sequence[int]) -> None:
        """Forget that a document, which does, holds these terms."""
        for number, occurs in zip(numbers, occurrences, strict=True):
            if occurs > 1:
                place = _take_out(_changeable(self.more, number, "I"), slot)
                _replace_by_last(_changeable(self.occurrences, number, "H"), place)
            else:
                _take_out(_changeable(self.ones, number, "I"), slot)


def packed(numbers: Sequence[int], occurrences: Sequence[int]) -> bytes:
    """Return a document's own list of terms, by number, with how often each stands in it."""
    return array("I", numbers).tobytes() + array("H", occurrences).tobytes()


def unpacked(forward: bytes) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
    """Return what was :func:`packed`."""
    terms = len(forward) // _FORWARD
    return np.frombuffer(forward, np.uint32, terms), np.frombuffer(forward, np.uint16, terms, offset=4 * terms)


def joined(parts: Sequence[Numbers], kind: type[np.generic]) -> NDArray[Any]:
    """Put lists of numbers one behind the other."""
    return np.frombuffer(b"".join(parts), kind)


def ends(parts: Sequence[Sized], *, size: int = 1) -> NDArray[np.int64]:
    """Return where each part ends when all are put one behind the other, in items of ``size`` bytes."""
    return np.cumsum([memoryview(part).nbytes // size for part in parts], dtype=np.int64)  # type: ignore[arg-type]


def cut(joined: NDArray[Any], ends: NDArray[np.int64]) -> list[Any]:
    """Take apart what :func:`ends` tells the ends of."""
    data = joined.tobytes()
    at = [0, *(ends * joined.itemsize).tolist()]
    return [data[start:end] for start, end in pairwise(at)]


def _changeable(lists: list[Numbers], number: int, kind: Literal["I", "H"]) -> "array[int]":
    numbers = lists[number]
    if isinstance(numbers, bytes):
        numbers = lists[number] = array(kind, numbers)
    return numbers


def _take_out(slots: "array[int]", slot: int) -> int:
    place = int(np.flatnonzero(np.frombuffer(slots, np.uint32) == slot)[0])
    _replace_by_last(slots, place)
    return place


def _replace_by_last(values: "array[int]", place: int) -> None:
    """Take one value out by putting the last in its place: the order means nothing."""
    last = values.pop()
    if place < len(values):
        values[place] = last
