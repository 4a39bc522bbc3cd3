"""The replica: records on disk and the index over them, behind one door.

Every record comes in by :meth:`Replica.add`, whatever brought it. A :class:`~espeer.records.SignedRecord` in hand has been
verified: :func:`espeer.records.decode` and :func:`espeer.records.sign` are where they come from.

Methods may be called from any thread; the store's lock lets in one at a time, and keeps store and index in step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from espeer.bm25 import BM25Index
from espeer.errors import InputError, TypeNotHeld
from espeer.records import ID_SIZE, Experience, Retraction, SignedRecord, load
from espeer.store import Store

ACTIVE: Final = "active"
RETRACTED: Final = "retracted"

MIN_COVERAGE: Final = 0.15
"""A recalled experience holds at least this share of the query's terms; below it, a shared word is chance."""

_SMALL_CORPUS: Final = 10
"""Below this many documents Okapi's idf is near zero or negative for almost every term, and coverage ranks better."""


@dataclass(frozen=True, slots=True)
class Held:
    """An experience in the replica.

    :ivar id: the record's id, hexadecimal.
    :ivar state: "active" or "retracted".
    :ivar via: the way it came: "own", "gossip" or "sync".
    """

    id: str
    experience: Experience
    state: str
    via: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A recalled experience.

    :ivar id: the record's id, hexadecimal.
    :ivar score: its BM25 score for the query.
    :ivar coverage: the share of the query's terms that it holds, 0 to 1.
    """

    id: str
    experience: Experience
    score: float
    coverage: float


class Replica:
    """The records that a node holds for its types, and the index of the active ones.

    :param types: the topic types held; records of others are refused.
    :param clock: milliseconds since the Unix epoch.
    """

    def __init__(self, store: Store, *, types: Sequence[str], clock: Callable[[], int]) -> None:
        self.types = tuple(types)
        self._store = store
        self._clock = clock
        self._lock = store.lock
        self._index = BM25Index()
        self._active: dict[str, Experience] = {}
        for data in store.data_in_state(ACTIVE):
            self._show(load(data))

    def __len__(self) -> int:
        """Return the number of active experiences of the types held."""
        return len(self._active)

    def add(self, records: Sequence[SignedRecord], *, via: str, episode: int | None = None) -> list[SignedRecord]:
        """Store and index records, all or none; those already there are passed over.

        :param via: the way they came, see :class:`Held`.
        :param episode: the number of the episode that the (one) record was distilled from.
        :returns: the new ones.
        :raises TypeNotHeld: one is of a type not held here.
        :raises StoreFull: no room; nothing was added.
        """
        for signed in records:
            if signed.record.type not in self.types:
                raise TypeNotHeld(f"this node does not hold the type {signed.record.type!r}; it holds {', '.join(self.types)}")
        with self._lock:
            with self._store.transaction():
                new = [signed for signed in records if self._store.insert_record(signed, via=via, now_ms=self._clock())]
                for signed in new:
                    self._store_state(signed)
                if episode is not None:
                    self._store.finish_episode(episode, records[0].id)
            for signed in new:  # only now: the transaction may have failed
                self._show_or_hide(signed)
        return new

    def recall(self, query: str, k: int, *, type: str | None = None) -> list[Hit]:
        """Return the ``k`` best active experiences for a query, best first.

        Ranked by BM25; by coverage first while there are only a few documents.
        :param type: recall only this type.
        """
        with self._lock:
            small = len(self._index) < _SMALL_CORPUS
            hits = [
                Hit(key, experience, score, coverage)
                for key, score in self._index.scores(query).items()
                if (experience := self._active[key]) and type in (None, experience.type)
                if (coverage := self._index.coverage(query, key)) >= MIN_COVERAGE
            ]
        hits.sort(key=lambda hit: (-hit.coverage if small else 0, -hit.score, hit.id))
        return hits[:k]

    def ids(self, type: str) -> list[bytes]:
        """Return the ids of all records of a type, active or not."""
        with self._lock:
            return self._store.ids(type)

    def get(self, ids: Sequence[bytes]) -> list[SignedRecord]:
        """Return the records of these ids; unknown ids are passed over."""
        with self._lock:
            found = [self._store.data(record) for record in ids]
        return [load(row[0]) for row in found if row is not None]

    def experiences(self, *, type: str | None = None, limit: int = 100) -> list[Held]:
        """Return the newest active experiences, newest first."""
        with self._lock:
            keys = [key for key, experience in self._active.items() if type in (None, experience.type)]
            return [self._held(bytes.fromhex(key)) for key in reversed(keys[-limit:])]

    def show(self, prefix: str) -> Held:
        """Return the one experience whose id begins with ``prefix`` (hexadecimal).

        :raises InputError: none does, or more than one.
        """
        with self._lock:
            found = self._store.find_ids(prefix) if 0 < len(prefix) <= 2 * ID_SIZE else []
            if len(found) != 1:
                problem = "more than one experience has" if found else "no experience has"
                raise InputError(f"{problem} an id that begins with {prefix[:64]!r}; `espeer experiences list` shows the ids")
            return self._held(found[0])

    def _held(self, record: bytes) -> Held:
        row = self._store.data(record)
        signed = load(row[0]) if row else None
        if row is None or signed is None or isinstance(signed.record, Retraction):
            raise InputError(f"{record.hex()} is not an experience")
        return Held(record.hex(), signed.record, self._store.state(record) or ACTIVE, row[1])

    def _store_state(self, signed: SignedRecord) -> None:
        """A retraction counts when its author is the experience's author, whichever of the two came first."""
        record = signed.record
        if isinstance(record, Experience):
            retracted = record.author in self._store.retracted_by(signed.id)
            self._store.set_state(signed.id, RETRACTED if retracted else ACTIVE)
        elif self._is_by_author(record):
            self._store.set_state(record.target, RETRACTED)

    def _is_by_author(self, retraction: Retraction) -> bool:
        row = self._store.data(retraction.target)
        return row is not None and load(row[0]).record.author == retraction.author

    def _show_or_hide(self, signed: SignedRecord) -> None:
        record = signed.record
        if isinstance(record, Retraction):
            if self._is_by_author(record):
                self._index.remove(record.target.hex())
                self._active.pop(record.target.hex(), None)
        elif self._store.state(signed.id) == ACTIVE:
            self._show(signed)

    def _show(self, signed: SignedRecord) -> None:
        if isinstance(signed.record, Experience) and signed.record.type in self.types:
            self._active[signed.id.hex()] = signed.record
            self._index.add(signed.id.hex(), signed.record.text)
