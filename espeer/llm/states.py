"""KV states that a model keeps, as bytes in memory, bounded (pure).

Taking in a state is many times faster than working it out again. States of prefixes are dear, as every prompt needs one, so
those of notes go first. But not every prefix is used again, and those that are not must not keep the notes out: prefixes may
take half of the room; beyond that they go first, but for the one used last.
"""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Protocol

from espeer.llm.model import source_of


@dataclass(frozen=True, slots=True)
class StateKey:
    """What a state belongs to. It stands for one state for ever: of two that were put under the same key either may come back.

    :ivar model: stands for the weights and for everything else that shapes a state.
    :ivar prefix: SHA-256 of the prefix's tokens.
    :ivar note: the id of the note that was read after the prefix; empty for the prefix's own state.
    :ivar slot: where the note stands.
    """

    model: str
    prefix: bytes
    note: str
    slot: int


class Spilling(Protocol):
    """Where states go that there is no room for in memory: :class:`espeer.llm.spill.Spill`."""

    def __contains__(self, key: StateKey) -> bool:
        """Whether it seems to have the state; it does not count as used."""

    def get(self, key: StateKey) -> bytes | None:
        """The state, if it has a sound one."""

    def put(self, key: StateKey, value: bytes) -> bool:
        """Take in a state; return whether it did."""

    def forget(self, sources: Collection[str]) -> None:
        """Drop the states of all notes that are from one of these."""

    def statistics(self) -> dict[str, int]:
        """What it holds, as names and numbers."""


class States:
    """Holds states, as many as fit; what was not used for longest goes first. For one thread at a time.

    :param limit_bytes: the most bytes of states in memory. A larger state is not kept at all.
    :param spill: takes what has to go, and gives it back.
    """

    def __init__(self, limit_bytes: int, spill: Spilling | None = None) -> None:
        self._limit: Final = limit_bytes
        self._spill: Final = spill
        self._prefixes: Final = _Shelf()
        self._notes: Final = _Shelf()
        self._unsaved: Final[dict[StateKey, None]] = {}  # in memory, and not offered to the spill yet
        self._hits = self._misses = self._evictions = self._spilled = self._restored = 0

    def __contains__(self, key: StateKey) -> bool:
        """Whether there is such a state, in memory or not. It does not count as used."""
        return key in self._shelf(key).values or (self._spill is not None and key in self._spill)

    def touch(self, key: StateKey) -> bool:
        """Whether there is such a state, in memory or not. One in memory counts as used now."""
        return self._shelf(key).use(key) is not None or (self._spill is not None and key in self._spill)

    def get(self, key: StateKey) -> bytes | None:
        """The state, which counts as used now; None if there is none."""
        value = self._shelf(key).use(key)
        if value is not None:
            self._hits += 1
            return value
        value = self._spill.get(key) if self._spill is not None else None
        if value is None:
            self._misses += 1
            return None
        self._restored += 1
        self._keep(key, value, saved=True)
        return value

    def put(self, key: StateKey, value: bytes | memoryview) -> None:
        """Keep a state, which counts as used now. A view is copied."""
        self._keep(key, bytes(value), saved=False)

    def forget(self, sources: Collection[str]) -> None:
        """Drop the states of all notes that are from one of these; see :attr:`espeer.llm.model.Note.id`."""
        for key in [key for key in self._notes.values if source_of(key.note) in sources]:
            self._notes.drop(key)
            self._unsaved.pop(key, None)
        if self._spill is not None:
            self._spill.forget(sources)

    def flush(self, most: int | None = None) -> int:
        """Have the spill take states that are in memory alone; each takes some milliseconds.

        In idle moments, so that room is made without delay when it is needed; and at the end, so that they are there after it.

        :param most: so many states at most; None for all of them.
        :returns: how many it took.
        """
        before = self._spilled
        while self._unsaved and (most is None or self._spilled - before < most):
            key = next(iter(self._unsaved))
            self._save(key, self._shelf(key).values[key])
        return self._spilled - before

    def statistics(self) -> dict[str, int]:
        """What is held, and how often it was of use, as names and numbers.

        ``hits`` were found in memory, ``restored`` in the spill, ``misses`` nowhere. ``evictions`` had to leave memory;
        ``spilled`` went into the spill, whose own statistics begin with ``disk``.
        """
        disk = self._spill.statistics() if self._spill is not None else {}
        return {
            "entries": len(self._prefixes.values) + len(self._notes.values),
            "bytes": self._bytes,
            "hits": self._hits,
            "misses": self._misses,
            "evictions": self._evictions,
            "spilled": self._spilled,
            "restored": self._restored,
            **{f"disk_{name}": number for name, number in disk.items()},
        }

    @property
    def _bytes(self) -> int:
        return self._prefixes.bytes + self._notes.bytes

    def _shelf(self, key: StateKey) -> "_Shelf":
        return self._notes if key.note else self._prefixes

    def _keep(self, key: StateKey, value: bytes, *, saved: bool) -> None:
        shelf = self._shelf(key)
        shelf.drop(key)
        self._unsaved.pop(key, None)
        if len(value) > self._limit:
            return
        shelf.add(key, value)
        if not saved:
            self._unsaved[key] = None
        self._make_room()

    def _make_room(self) -> None:
        while self._bytes > self._limit:
            crowded = len(self._prefixes.values) > 1 and self._prefixes.bytes > self._limit // 2
            shelf = self._prefixes if crowded or not self._notes.values else self._notes
            key, value = shelf.oldest()
            self._save(key, value)
            shelf.drop(key)
            self._evictions += 1

    def _save(self, key: StateKey, value: bytes) -> None:
        self._unsaved.pop(key, None)
        if self._spill is not None and key not in self._spill:
            self._spilled += self._spill.put(key, value)


class _Shelf:
    """States in the order of their last use, and how many bytes they have together."""

    def __init__(self) -> None:
        self.values: Final[OrderedDict[StateKey, bytes]] = OrderedDict()
        self.bytes = 0

    def use(self, key: StateKey) -> bytes | None:
        value = self.values.get(key)
        if value is not None:
            self.values.move_to_end(key)
        return value

    def add(self, key: StateKey, value: bytes) -> None:
        self.values[key] = value
        self.bytes += len(value)

    def drop(self, key: StateKey) -> None:
        self.bytes -= len(self.values.pop(key, b""))

    def oldest(self) -> tuple[StateKey, bytes]:
        key = next(iter(self.values))
        return key, self.values[key]
