"""The replica: records on disk and the index over them, behind one door.

Every record comes in by :meth:`Replica.add`, whatever brought it. A :class:`~espeer.records.SignedRecord` in hand has been
verified: :func:`espeer.records.decode` and :func:`espeer.records.sign` are where they come from.

What recall may see is the view: the state of each experience. It follows from the records and from the local decisions of
:mod:`espeer.lifecycle.runs`. Methods may be called from any thread; the store's lock lets in one at a time, and keeps store
and index in step.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, starmap, zip_longest
from pathlib import Path
from typing import Final

from espeer import snapshot
from espeer.bm25 import SMALL_CORPUS, BM25Index
from espeer.errors import InputError, NotFound, StoreFull, TypeNotHeld
from espeer.keys import Keys, KeySet, Offer, key_of
from espeer.log import get_logger
from espeer.records import ID_SIZE, Experience, Retraction, SignedRecord, load, peer_id
from espeer.scale import Scale
from espeer.store import Store
from espeer.tokens import Tokenizer
from espeer.transfer import ExportPage

ACTIVE: Final = "active"
"""May be recalled."""
SUPERSEDED: Final = "superseded"
"""Another experience, which is active, stands for it."""
EVICTED: Final = "evicted"
"""There was no room for it: only its id is kept."""
RETRACTED: Final = "retracted"
"""Its author took it back."""
UNDONE: Final = "undone"
"""A condensate that was taken back."""

IMPORTED: Final = "import"
"""How the records of a file come."""
FOREIGN: Final = ("gossip", "sync", "submit", IMPORTED)
"""How the records of other nodes come."""
REFINED: Final = "refined"
"""How the condensates of our own refinement come: they stay here."""

MAX_KNOWN: Final = 1_000_000
"""The most records of a type that are known, evicted ones too; further ones from other nodes are refused (100 MB of memory)."""
MIN_COVERAGE: Final = 0.15
"""A recalled experience holds at least this share of the query's terms; below it, a shared word is chance."""
LATELY: Final = 500
"""What was used in the answers to so many last interactions was used lately."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """An experience in the replica.

    :ivar id: the record's id, hexadecimal.
    :ivar experience: None where its data was freed.
    :ivar state: "active", "superseded", "evicted", "retracted" or "undone".
    :ivar via: the way it came: "own", "gossip", "sync", "submit", "import" or "refined".
    :ivar by: the id of the experience that stands for a superseded one.
    """

    id: str
    experience: Experience | None
    state: str
    via: str
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A recalled experience.

    :ivar id: the record's id, hexadecimal.
    :ivar score: its BM25 score for the query.
    :ivar coverage: the share of the query's terms that it holds, 0 to 1.
    :ivar peer: the peer id of who told it; None if it is held here.
    """

    id: str
    experience: Experience
    score: float
    coverage: float
    peer: str | None = None


class Replica:
    """The records that a node holds for its types, and the index of the active ones.

    :param types: the topic types held; records of others are refused.
    :param clock: milliseconds since the Unix epoch.
    :param index_path: where the index's snapshot is kept; without one it is built anew each time.
    :param k1, b, language: how texts are compared, see :class:`espeer.bm25.BM25Index` and :class:`espeer.tokens.Tokenizer`.
    :ivar hidden: is told the ids (hexadecimal) of experiences that recall does not see any more, in whatever thread.
    """

    def __init__(
        self,
        store: Store,
        *,
        types: Sequence[str],
        clock: Callable[[], int],
        index_path: Path | None = None,
        k1: float = 1.5,
        b: float = 0.75,
        language: str | None = "english",
    ) -> None:
        self.types = tuple(types)
        self.store = store
        self.hidden: Callable[[Sequence[str]], None] = lambda _: None
        self._clock = clock
        self._lock = store.lock
        self._index_path = index_path
        tokenizer = Tokenizer(language=language)
        self._settings = f"{k1} {b} {tokenizer.signature}"
        self._index = BM25Index(k1=k1, b=b, tokenizer=tokenizer)
        self._keys = {name: KeySet(starmap(key_of, store.created(name, without=REFINED))) for name in self.types}
        if index_path is not None:
            snapshot.load(index_path, self._index, settings=self._settings)
        self._follow_store()

    def _follow_store(self) -> None:
        """Bring the index up to date with the store: all of it where there is no snapshot, and what differs otherwise."""
        active = {id_.hex() for id_, type_ in self.store.ids_in_state(ACTIVE).items() if type_ in self.types}
        gone = set(self._index.keys()) - active
        for key in gone:
            self._index.remove(key)
        missing = [key for key in active if key not in self._index]
        for key in missing:
            self._show(bytes.fromhex(key))
        self._unsaved = len(missing) + len(gone)

    def save_index(self, *, at_least: int = 1) -> None:
        """Write the index's snapshot if so many records have changed since the last one. Without room it is left for later."""
        with self._lock:
            if self._index_path is None or self._unsaved < at_least:
                return
            try:
                snapshot.save(self._index_path, self._index, settings=self._settings)
            except OSError as error:
                log.warning("cannot write the index's snapshot; the next start takes longer", reason=str(error))
            self._unsaved = 0

    def __len__(self) -> int:
        """Return the number of active experiences of the types held."""
        return len(self._index)

    def add(self, records: Sequence[SignedRecord], *, via: str, episode: int | None = None) -> list[SignedRecord]:
        """Store and index records, all or none; those already there are passed over.

        :param via: the way they came, see :class:`Held`.
        :param episode: the number of the episode that the (one) record was distilled from.
        :returns: the new ones.
        :raises TypeNotHeld: one is of a type not held here.
        :raises StoreFull: no room, or others' records are too many; nothing was added.
        """
        for signed in records:
            if signed.record.type not in self.types:
                raise TypeNotHeld(f"this node does not hold the type {signed.record.type!r}; it holds {', '.join(self.types)}")
        with self._lock:
            if via in FOREIGN and any(len(self._keys[name]) >= MAX_KNOWN for name in {s.record.type for s in records}):
                raise StoreFull(f"this node knows {MAX_KNOWN:,} records of a type and takes no more of it from others")
            with self.store.transaction():
                new = [signed for signed in records if self.store.insert_record(signed, via=via, now_ms=self._clock())]
                changed = [id_ for signed in new for id_ in self._store_state(signed)]
                if episode is not None:
                    self.store.finish_episode(episode, records[0].id)
            self.refresh(changed)  # only now: the transaction may have failed
            if via != REFINED:
                for signed in new:
                    self._keys[signed.record.type].add(key_of(signed.record.created, signed.id))
        return new

    def refresh(self, changed: Iterable[bytes]) -> None:
        """Have the index follow the view for these records, whose states may have changed."""
        hidden = []
        with self._lock:
            for id_ in changed:
                self._unsaved += 1
                state = self.store.state(id_)
                if state is not None and state[0] == ACTIVE:
                    self._show(id_)
                else:
                    self._index.remove(id_.hex())
                    hidden.append(id_.hex())
        if hidden:
            self.hidden(hidden)

    def recall(self, query: str, k: int, types: Collection[str] | None = None) -> list[Hit]:
        """Return the ``k`` best active experiences for a query, best first.

        Ranked by BM25; by coverage first while there are only a few documents.
        :param types: recall only these types.
        """
        with self._lock:
            small = len(self._index) < SMALL_CORPUS
            matches = self._index.search(query, SMALL_CORPUS if small else k, labels=types, min_coverage=MIN_COVERAGE)
            if small:
                matches.sort(key=lambda match: (-match.coverage, -match.score, match.key))
            return [Hit(match.key, self.experience(match.key), match.score, match.coverage) for match in matches[:k]]

    def recall_signed(self, query: str, k: int, *, types: Collection[str]) -> list[tuple[SignedRecord, float]]:
        """Recall for another node, condensates among the rest: the signed records and their scores, best first."""
        with self._lock:
            hits = self.recall(query, k, types=types)
            found = [(self.store.data(bytes.fromhex(hit.id)), hit.score) for hit in hits]
        return [(load(row[0]), score) for row, score in found if row is not None and row[0]]

    def neighbours(self, key: str, at_least: float, *, scale: Scale, k: int) -> list[tuple[str, float]]:
        """Return the ``k`` nearest active experiences of the same type, see :meth:`BM25Index.neighbours`."""
        with self._lock:
            if key not in self._index:  # it may have gone since
                return []
            return self._index.neighbours(key, at_least, scale=scale, label=self.experience(key).type, k=k)

    def experience(self, key: str) -> Experience:
        """Return an experience whose data is there.

        :raises NotFound: there is none of this id.
        """
        held = self._held(bytes.fromhex(key))
        if held.experience is None:
            raise NotFound(f"the text of {key} is not kept any more")
        return held.experience

    def active(self, type: str) -> list[str]:
        """Return the ids (hexadecimal) of the active experiences of a type."""
        with self._lock:
            return self._index.keys(label=type)

    def keys(self, type: str) -> Keys:
        """Return the keys of all records of a type that came from the network or may go there, active or not."""
        with self._lock:
            return self._keys[type].snapshot()

    def unknown(self, ids: Sequence[bytes]) -> list[bytes]:
        """Return those of the ids that no record is known of."""
        with self._lock:
            return [id_ for id_ in ids if not self.store.knows(id_)]

    def offer(self, type: str, ids: Sequence[bytes]) -> Offer:
        """Return what another node may have of these records: not what their author took back, nor what stays here."""
        records, gone = [], []
        with self._lock:
            for id_ in ids:
                match self.store.shared(id_):
                    case (str(of), _, str(via), _, _) if of != type or via == REFINED:
                        continue
                    case (_, int(created), _, bytes(data), state) if not data or state == RETRACTED:
                        gone.append(key_of(created, id_))
                    case (_, _, _, bytes(data), _):
                        records.append(data)
        return Offer(records, gone)

    def withheld(self, type: str, ids: Sequence[bytes]) -> list[bytes]:
        """Return the keys of those of these records that :meth:`offer` would say are gone."""
        with self._lock:
            return [
                key_of(created, id_) for id_ in ids if (created := self.store.withheld(id_, type, state=RETRACTED)) is not None
            ]

    def experiences(self, *, type: str | None = None, limit: int = 100) -> list[Held]:
        """Return the newest active experiences, newest first."""
        with self._lock:
            return [self._held(id_) for id_ in self.store.newest(ACTIVE, self.types if type is None else (type,), limit)]

    def likely(self, limit: int) -> list[Held]:
        """Return active experiences that are likely to be recalled: those used most lately, and the newest, in turn."""
        with self._lock:
            used = self.store.used_most(ACTIVE, self.types, limit, of_last=LATELY)
            newest = self.store.newest(ACTIVE, self.types, limit)
            ids = dict.fromkeys(id_ for pair in zip_longest(used, newest) for id_ in pair if id_ is not None)
            return [self._held(id_) for id_ in islice(ids, limit)]

    def page(self, after: int, limit: int, *, type: str | None, author: bytes | None, condensates: bool) -> ExportPage:
        """Return records to export, those that came after the number ``after``: all but what was taken back.

        :param type: only this topic type; what the store has of types that are not held counts, too.
        :param author: only what this key signed.
        :param condensates: with what our own refinement made, too.
        :raises NotFound: there is nothing of that type, nor is it held.
        """
        if type is not None and type not in self.types and type not in self.store.types():
            raise NotFound(f"there are no records of the type {type!r} here; this node holds {', '.join(self.types)}")
        local = None if condensates else REFINED
        rows = self.store.exported(after, limit, without=(RETRACTED, UNDONE), type_=type, author=author, local=local)
        return ExportPage(tuple(load(data) for _, data in rows), rows[-1][0] if len(rows) == limit else None)

    def retraction(self, prefix: str, *, author: bytes) -> Retraction:
        """Make the retraction of the one experience of ours whose id begins with ``prefix`` (hexadecimal).

        :param author: our public key.
        :raises NotFound: there is no such experience, or more than one.
        :raises InputError: it is not ours to take back, or was taken back already.
        """
        with self._lock:
            id_ = self.find(prefix)
            found, short = self.store.shared(id_), id_.hex()[:12]
            if found is None or found[4] is None:
                raise NotFound(f"{short} is a retraction, not an experience")
            type_, _, via, _, state = found
            if via == REFINED:
                raise InputError(
                    f"{short} is a condensate that this node made and shares with nobody: retract what it was made of, see "
                    f"`espeer experiences why {short}`, or take its run back with `espeer refine --undo`"
                )
            if (by := self.store.author(id_)) != author:
                raise InputError(f"{short} was learnt by {peer_id(by or b'')}; only its author can retract it")
            if state == RETRACTED:
                raise InputError(f"{short} was retracted already")
            return Retraction(type_, id_, self._clock(), author)

    def find(self, prefix: str) -> bytes:
        """Return the one id that begins with ``prefix`` (hexadecimal).

        :raises NotFound: none does, or more than one.
        """
        found = self.store.find_ids(prefix) if 0 < len(prefix) <= 2 * ID_SIZE else []
        if len(found) != 1:
            problem = "more than one experience has" if found else "no experience has"
            raise NotFound(f"{problem} an id that begins with {prefix[:64]!r}; `espeer experiences list` shows the ids")
        return found[0]

    def show(self, prefix: str) -> Held:
        """Return the one experience whose id begins with ``prefix`` (hexadecimal).

        :raises NotFound: none does, or more than one.
        """
        with self._lock:
            return self._held(self.find(prefix))

    def _held(self, record: bytes) -> Held:
        row, state = self.store.data(record), self.store.state(record)
        if row is None or state is None:
            raise NotFound(f"{record.hex()} is not an experience")
        content = load(row[0]).record if row[0] else None
        if isinstance(content, Retraction):
            raise NotFound(f"{record.hex()} is not an experience")
        return Held(record.hex(), content, state[0], row[1], state[1].hex() if state[1] else None)

    def _store_state(self, signed: SignedRecord) -> list[bytes]:
        """Give a new record its state; return those whose states changed.

        A retraction counts when its author is the experience's author, whichever of the two came first.
        """
        record = signed.record
        if isinstance(record, Experience):
            retracted = record.author in self.store.retracted_by(signed.id)
            self.store.set_state(signed.id, RETRACTED if retracted else ACTIVE)
            return [signed.id]
        if self.store.author(record.target) != record.author:
            return []
        return self._retract(record.target)

    def _retract(self, target: bytes) -> list[bytes]:
        """Hide an experience, and every condensate of ours that was made of it; what they stood for comes back."""
        hidden = [target, *self.store.made_of(target)]
        changed = []
        for id_ in hidden:
            self.store.set_state(id_, RETRACTED if id_ == target else UNDONE)
            released = [other for other in self.store.stood_for_by(id_) if other not in hidden]
            self._release(released)
            changed += released
        return [*hidden, *changed]

    def _release(self, released: Sequence[bytes]) -> None:
        """Let records speak for themselves again; or a condensate among them that was made of them, the largest first."""
        leaves = {id_: self._leaves(id_) for id_ in released}
        heads = sorted((id_ for id_ in released if leaves[id_] != {id_}), key=lambda id_: (-len(leaves[id_]), id_))
        for id_ in released:
            earlier = heads[: heads.index(id_)] if id_ in heads else heads
            head = next((head for head in earlier if leaves[id_] <= leaves[head]), None)
            if head is not None:
                self.store.set_state(id_, SUPERSEDED, head)
            else:
                self.store.set_state(id_, ACTIVE if self.store.is_kept(id_) else EVICTED)

    def _leaves(self, id_: bytes) -> set[bytes]:
        """Return the experiences that a condensate of ours, whose text is kept, was made of; of any other, itself."""
        data, via = self.store.data(id_) or (b"", "")
        record = load(data).record if data and via == REFINED else None
        return set(record.sources) if isinstance(record, Experience) else {id_}

    def _show(self, id_: bytes) -> None:
        data, _ = self.store.data(id_) or (b"", "")
        record = load(data).record if data else None
        if isinstance(record, Experience) and record.type in self.types:
            self._index.add(id_.hex(), record.text, label=record.type)
