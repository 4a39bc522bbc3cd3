"""Refinement runs: what they do to the view, step by step, so that each can be told and undone.

A step is one transaction: whoever is killed between two leaves a store in which every experience is active, or superseded by
one that is. The records themselves stay; an evicted one keeps its id, so that no peer brings it back.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from espeer.errors import InputError, NotFound
from espeer.lifecycle.refine import Candidate, Standing
from espeer.records import SignedRecord
from espeer.replica import ACTIVE, EVICTED, REFINED, RETRACTED, SUPERSEDED, UNDONE, Held, Replica
from espeer.scale import Scale
from espeer.store import MAX_ROW

USES: Final = 50
"""The most uses of an experience that are told."""
_NEW: Final = ""  # the state before a run made the record
_RUN: Final = """SELECT id, started, reason, scale, threshold, type, seen, finished, undone,
    (SELECT count(*) FROM changes c WHERE c.run = refinements.id AND c.before = ''),
    (SELECT count(*) FROM changes c WHERE c.run = refinements.id AND c.before = 'active' AND c.after = 'superseded'),
    (SELECT count(*) FROM changes c WHERE c.run = refinements.id AND c.before = 'active' AND c.after = 'evicted')
    FROM refinements """


@dataclass(frozen=True, slots=True)
class Run:
    """A refinement run.

    :ivar started, finished, undone: milliseconds since the Unix epoch; None if it is not.
    :ivar reason: "asked", "records", "capacity".
    :ivar scale, threshold: which experiences were taken as alike, see :data:`espeer.scale.Scale`.
    :ivar type: the topic type that it was about, or "" for all.
    :ivar seen: the number of the newest record at its start.
    :ivar made: the condensates that it made.
    :ivar superseded: the experiences that another stands for since.
    :ivar evicted: the experiences that there was no room for.
    """

    id: int
    started: int
    reason: str
    scale: Scale
    threshold: float
    type: str
    seen: int
    finished: int | None
    undone: int | None
    made: int = 0
    superseded: int = 0
    evicted: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """What a run did to one experience: its state before ("" if the run made it) and after."""

    run: int
    before: str
    after: str
    undone: bool


@dataclass(frozen=True, slots=True)
class Use:
    """An answer that an experience was in the prompt of.

    :ivar answer: the interaction's number.
    :ivar at: milliseconds since the Unix epoch.
    :ivar good: how the answer was rated; None if it was not.
    """

    answer: int
    at: int
    question: str
    good: bool | None


@dataclass(frozen=True, slots=True)
class Why:
    """Where an experience stands and how it came to that.

    :ivar by: the experience that stands for it.
    :ivar sources: the experiences that it was condensed from; those that are not known here are left out.
    :ivar stands_for: the experiences that it supersedes.
    :ivar received: when it came, milliseconds since the Unix epoch.
    :ivar uses: the latest answers that it was used in, the latest first; at most :data:`USES`.
    """

    held: Held
    by: Held | None
    sources: tuple[Held, ...]
    stands_for: tuple[Held, ...]
    steps: tuple[Step, ...]
    received: int
    uses: tuple[Use, ...]


@dataclass(frozen=True, slots=True)
class Undone:
    """What undoing a run came to: ids, hexadecimal.

    :ivar restored: active or superseded as before the run.
    :ivar taken_back: condensates that the run had made.
    :ivar lost: could not come back: their data was freed.
    """

    restored: tuple[str, ...]
    taken_back: tuple[str, ...]
    lost: tuple[str, ...]


class Runs:
    """The refinement runs of a replica.

    :param clock: milliseconds since the Unix epoch.
    """

    def __init__(self, replica: Replica, *, clock: Callable[[], int]) -> None:
        self._replica = replica
        self._store = replica.store
        self._clock = clock
        self._marks = ", ".join("?" * len(replica.types))

    # -- a run

    def begin(self, reason: str, *, scale: Scale, threshold: float, type: str = "") -> Run:
        """Begin a run, about one topic type or all."""
        with self._store.transaction():
            cursor = self._store.write(
                "INSERT INTO refinements (started, reason, scale, threshold, type, seen) VALUES (?, ?, ?, ?, ?, ?)",
                (self._clock(), reason, scale, threshold, type, self.newest()),
            )
            return self.run(cursor.lastrowid or 0)

    def newest(self) -> int:
        """Return the number of the newest record; they count up."""
        return int(self._store.row("SELECT coalesce(max(seq), 0) FROM records", ())[0])

    def finish(self, run: int) -> None:
        """Note that a run is done."""
        self._store.write("UPDATE refinements SET finished = ? WHERE id = ?", (self._clock(), run))

    def supersede(self, run: int, members: Sequence[str], by: str, *, new: SignedRecord | None = None) -> bool:
        """Have one experience stand for others, and for all that these stood for, in one step.

        :param by: an active experience, or that of ``new``.
        :param new: a condensate of ours, to be stored with it.
        :returns: False, and nothing is done, if one of them is not active any more.
        """
        ids = [bytes.fromhex(member) for member in members if member != by]
        head = bytes.fromhex(by)
        with self._store.lock:
            with self._store.transaction():
                if not all(self._state(id_)[0] == ACTIVE for id_ in (ids if new else [*ids, head])):
                    return False
                if new is not None:
                    self._store.insert_record(new, via=REFINED, now_ms=self._clock())
                    self._change(run, head, ACTIVE, None)
                for id_ in ids:
                    for earlier in self._store.stood_for_by(id_):
                        self._change(run, earlier, SUPERSEDED, head)
                    self._change(run, id_, SUPERSEDED, head)
            self._replica.refresh([*ids, head])
        return True

    def evict(self, run: int, members: Sequence[str]) -> None:
        """Free the data of experiences, and of all that they stood for, in one step."""
        heads = [bytes.fromhex(member) for member in members]
        with self._store.lock:
            with self._store.transaction():
                ids = [id_ for head in heads for id_ in (head, *self._store.stood_for_by(head))]
                for id_ in ids:
                    self._change(run, id_, EVICTED, None)
                    self._store.free(id_)
            self._replica.refresh(ids)

    def free_hidden(self, bytes_wanted: int) -> int:
        """Free the data of experiences that recall does not see, those that cannot come back and the oldest first.

        :returns: the number of bytes that were freed.
        """
        query = f"""SELECT r.id, length(r.data) FROM records r JOIN view v ON v.record = r.id
            WHERE v.state IN (?, ?, ?) AND length(r.data) > 0 AND r.type IN ({self._marks}) ORDER BY v.state = ?, r.seq"""  # noqa: S608 - marks only
        freed = 0
        with self._store.lock, self._store.transaction():
            for id_, size in self._store.rows(query, (SUPERSEDED, UNDONE, RETRACTED, *self._replica.types, SUPERSEDED)):
                if freed >= bytes_wanted:
                    break
                self._store.free(id_)
                freed += size
        return freed

    def _change(self, run: int, record: bytes, after: str, by: bytes | None) -> None:
        before, before_by = self._state(record)
        self._store.set_state(record, after, by)
        self._store.write(
            "INSERT INTO changes (run, record, before, before_by, after, after_by) VALUES (?, ?, ?, ?, ?, ?)",
            (run, record, before, before_by, after, by),
        )

    def _state(self, record: bytes) -> tuple[str, bytes | None]:
        return self._store.state(record) or (_NEW, None)

    # -- looking

    def run(self, number: int) -> Run:
        """Return a run.

        :raises NotFound: there is none of this number.
        """
        row = self._store.row(_RUN + "WHERE id = ?", (number,)) if 0 < number <= MAX_ROW else None
        if row is None:
            raise NotFound(f"there is no refinement run {number}; `espeer refine --list` shows them")
        return Run(*row)

    def last(self) -> Run | None:
        """Return the latest run over all types, or None."""
        row = self._store.row(_RUN + "WHERE type = '' ORDER BY id DESC LIMIT 1", ())
        return None if row is None else Run(*row)

    def unfinished(self) -> Run | None:
        """Return the latest run if it was cut off, or None."""
        last = next(iter(self.runs(limit=1)), None)
        return last if last is not None and last.finished is None else None

    def runs(self, *, limit: int = 20) -> list[Run]:
        """Return the latest runs, the latest first."""
        return [Run(*row) for row in self._store.rows(_RUN + "ORDER BY id DESC LIMIT ?", (min(limit, MAX_ROW),))]

    def last_finished(self, scale: Scale, threshold: float) -> Run | None:
        """Return the latest run over all types by this measure that was finished and not undone, or None."""
        query = (
            _RUN
            + """WHERE finished IS NOT NULL AND undone IS NULL AND type = '' AND scale = ? AND threshold = ?
            ORDER BY id DESC LIMIT 1"""
        )
        row = self._store.row(query, (scale, threshold))
        return None if row is None else Run(*row)

    def newer_than(self, number: int) -> set[str]:
        """Return the ids of the records that came after the record of that number, our own condensates aside."""
        query = "SELECT lower(hex(id)) FROM records WHERE seq > ? AND via != ?"
        return {row[0] for row in self._store.rows(query, (number, REFINED))}

    def count_newer_than(self, number: int) -> int:
        """Return how many these are."""
        return int(self._store.row("SELECT count(*) FROM records WHERE seq > ? AND via != ?", (number, REFINED))[0])

    def candidate(self, key: str) -> Candidate:
        """Return an experience as grouping wants it.

        Only a condensate of our own stands for others: what any other record says of its sources nobody has seen.
        :raises NotFound: its text is not there.
        """
        experience = self._replica.experience(key)
        leaves = self.leaves([key])
        authors = {author for leaf in leaves if (author := self._store.author(leaf))}
        return Candidate(key, experience.text, frozenset(authors), experience.created, len(leaves))

    def leaves(self, members: Sequence[str]) -> tuple[bytes, ...]:
        """Return the original experiences behind these: what our own condensates were made of, and merged duplicates."""
        found: dict[bytes, None] = {}
        for key in members:
            id_ = bytes.fromhex(key)
            for other in (id_, *self._store.stood_for_by(id_)):
                held = self._replica.show(other.hex())
                if held.via != REFINED:
                    found[other] = None
                elif other == id_ and held.experience:
                    found.update(dict.fromkeys(held.experience.sources))
        return tuple(found)

    def kept_apart(self) -> set[str]:
        """Return the experiences that a run was undone for: no run that was not asked for takes them up again."""
        query = "SELECT DISTINCT lower(hex(record)) FROM changes JOIN refinements r ON r.id = run WHERE r.undone IS NOT NULL"
        return {row[0] for row in self._store.rows(query)}

    def size(self) -> int:
        """Return the bytes of all experiences that are kept of the types held: not those of retractions, which must stay."""
        query = f"SELECT coalesce(sum(length(data)), 0) FROM records WHERE kind = 'experience' AND type IN ({self._marks})"  # noqa: S608 - marks only
        return int(self._store.row(query, self._replica.types)[0])

    def standings(self) -> list[Standing]:
        """Return what is known of the use of each active experience of the types held."""
        query = f"""
            SELECT lower(hex(r.id)), r.received, max(i.created), coalesce(sum(i.good = 1), 0), coalesce(sum(i.good = 0), 0),
                1 + (SELECT count(DISTINCT s.author) FROM view sv JOIN records s ON s.id = sv.record
                     WHERE sv.by = r.id AND s.author != r.author)
            FROM view v JOIN records r ON r.id = v.record
            LEFT JOIN uses u ON u.record = r.id LEFT JOIN interactions i ON i.id = u.interaction
            WHERE v.state = ? AND r.type IN ({self._marks}) GROUP BY r.id"""  # noqa: S608 - marks only
        return [Standing(*row) for row in self._store.rows(query, (ACTIVE, *self._replica.types))]

    def why(self, prefix: str) -> Why:
        """Tell where the one experience whose id begins with ``prefix`` stands, and how it came to that.

        :raises NotFound: none does, or more than one.
        """
        with self._store.lock:
            held = self._replica.show(prefix)
            id_ = bytes.fromhex(held.id)
            sources = held.experience.sources if held.experience else ()
            known = [source.hex() for source in sources if self._store.state(source) is not None]
            steps = self._store.rows(
                """SELECT c.run, c.before, c.after, r.undone IS NOT NULL FROM changes c JOIN refinements r ON r.id = c.run
                WHERE c.record = ? ORDER BY c.id""",
                (id_,),
            )
            return Why(
                held=held,
                by=self._replica.show(held.by) if held.by else None,
                sources=tuple(map(self._replica.show, known)),
                stands_for=tuple(self._replica.show(other.hex()) for other in self._store.stood_for_by(id_)),
                steps=tuple(Step(run, before, after, bool(undone)) for run, before, after, undone in steps),
                received=self._store.received(id_),
                uses=tuple(self._uses(id_)),
            )

    def _uses(self, record: bytes) -> Iterator[Use]:
        query = """SELECT i.id, i.created, i.query, i.good FROM uses u JOIN interactions i ON i.id = u.interaction
            WHERE u.record = ? ORDER BY i.id DESC LIMIT ?"""
        for answer, at, question, good in self._store.rows(query, (record, USES)):
            yield Use(answer, at, question, None if good is None else bool(good))

    # -- undoing

    def undo(self, number: int) -> Undone:
        """Take a run back: every experience that it changed stands again where it stood before.

        What was retracted since stays retracted, and what was freed cannot come back.
        :raises InputError: there is no such run, it was undone, or a later one builds on it.
        """
        with self._store.lock:
            run = self.run(number)
            if run.undone is not None:
                raise InputError(f"refinement run {number} was undone already")
            if later := self._later_run_on(number):
                raise InputError(f"refinement run {later} builds on run {number}; undo that one first")
            restored: dict[bytes, None] = {}
            taken_back, lost, changed = [], [], []
            with self._store.transaction():
                query = "SELECT record, before, before_by, after, after_by FROM changes WHERE run = ? ORDER BY id DESC"
                for record, before, before_by, after, after_by in self._store.rows(query, (number,)):
                    if self._state(record) != (after, after_by):
                        continue  # retracted since, and what followed from that
                    if after == EVICTED:
                        lost.append(record)
                        continue
                    changed.append(record)
                    if before == _NEW:
                        self._store.set_state(record, UNDONE)
                        taken_back.append(record)
                    elif self._store.is_kept(record) or before == SUPERSEDED:
                        self._store.set_state(record, before, before_by)
                        restored[record] = None
                    else:
                        self._store.set_state(record, EVICTED)
                        lost.append(record)
                for record in restored:
                    _, by = self._state(record)
                    if by is not None and self._state(by)[0] != ACTIVE:  # what stood for it was freed
                        self._store.set_state(record, ACTIVE if self._store.is_kept(record) else EVICTED)
                now = self._clock()
                sql = "UPDATE refinements SET undone = ?1, finished = coalesce(finished, ?1) WHERE id = ?2"
                self._store.write(sql, (now, number))
            self._replica.refresh(changed)
        return Undone(_hex([r for r in restored if r not in taken_back]), _hex(taken_back), _hex(lost))

    def _later_run_on(self, number: int) -> int | None:
        row = self._store.row(
            """SELECT max(l.run) FROM changes l JOIN changes m ON m.run = ?1 AND m.record IN (l.record, l.after_by)
            JOIN refinements r ON r.id = l.run WHERE l.run > ?1 AND r.undone IS NULL""",
            (number,),
        )
        return None if row is None else row[0]


def _hex(ids: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(id_.hex() for id_ in ids)
