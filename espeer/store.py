"""The truth on disk: interactions, episodes, records and their view, in one SQLite database.

Write-ahead log with full synchronisation: what a finished call wrote survives ``kill -9`` and a power cut. Every write is a
transaction. A store may be used from several threads; :attr:`Store.lock` lets in one at a time.
"""

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import hexdigits
from typing import Any, Final

from espeer.errors import StoreDamaged, StoreError, StoreFull, StoreVersionError
from espeer.interaction import Interaction
from espeer.records import ID_SIZE, Retraction, SignedRecord, encode
from espeer.schema import MIGRATIONS

MAX_ROW: Final = 2**63 - 1
"""The highest number that a row can have."""
APPLICATION_ID: Final = 0x65737072  # "espr", so that somebody else's database is not taken for a store

_SELECT_INTERACTION = "SELECT id, created, query, response, feedback, source, type FROM interactions "


class Store:
    """The database of one node. Use :meth:`open`.

    :ivar lock: held by every call; hold it around several that belong together.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self.lock = threading.RLock()
        self._db = db

    @classmethod
    def open(cls, path: Path, *, max_pages: int | None = None) -> "Store":
        """Open the store at ``path``, making or migrating it as needed.

        :param max_pages: the most pages of 4 KiB that the file may grow to.
        :raises StoreVersionError: a newer espeer wrote it; nothing is changed.
        :raises StoreDamaged: it is not a store, or a broken one.
        :raises StoreFull: no room to open it.
        """
        with _translated(path):
            if str(path) != ":memory:":  # its user's alone from its first moment on; SQLite's other files take after it
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
            try:
                store = cls(db)
                store._prepare(path, max_pages)
            except BaseException:
                db.close()
                raise
        return store

    def _prepare(self, path: Path, max_pages: int | None) -> None:
        db = self._db
        db.execute("PRAGMA foreign_keys = ON")
        tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if tables and db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise StoreDamaged(f"{path} is not an espeer store; choose another folder with --data")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        if max_pages is not None:
            db.execute(f"PRAGMA max_page_count = {int(max_pages)}")
        with self.transaction():
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute("CREATE TABLE IF NOT EXISTS _migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT")
            done = db.execute("SELECT coalesce(max(number), 0) FROM _migrations").fetchone()[0]
            if done > len(MIGRATIONS):
                raise StoreVersionError(
                    f"{path} is of schema {done}, this espeer knows {len(MIGRATIONS)}; upgrade espeer or choose another --data"
                )
            for number, step in enumerate(MIGRATIONS[done:], done + 1):
                step(db)
                db.execute("INSERT INTO _migrations VALUES (?, ?)", (number, step.__name__))

    def close(self) -> None:
        """Close the database, when the call that is under way is done; later ones fail with StoreError."""
        with self.lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside are kept together, or none of them; nested use joins the outer one.

        :raises StoreFull: no room; nothing of the transaction was kept.
        """
        with self.lock, _translated(None):
            if self._db.in_transaction:
                yield
            else:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:  # SQLite rolls back by itself when the disk is full
                        self._db.execute("ROLLBACK")
                    raise

    # -- for the modules that keep their tables here

    def write(self, sql: str, values: Sequence[object]) -> sqlite3.Cursor:
        """Execute a statement that changes something."""
        with self.lock, _translated(None):
            return self._db.execute(sql, values)

    def write_all(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Execute a statement for each of the rows."""
        with self.lock, _translated(None):
            self._db.executemany(sql, rows)

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        """Return the rows of a query."""
        with self.lock, _translated(None):
            return self._db.execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[object]) -> Any:
        """Return the first row, or None."""
        with self.lock, _translated(None):
            return self._db.execute(sql, values).fetchone()

    # -- interactions and episodes

    def add_interaction(self, new: Interaction, *, ready: bool, used: Sequence[bytes] = ()) -> Interaction:
        """Store an interaction and the ids of the experiences it was answered with; return it with its number."""
        with self.transaction():
            cursor = self.write(
                """INSERT INTO interactions (created, query, response, feedback, source, type, ready)
                VALUES (?, ?, ?, ?, ?, ?, ?)""",
                (new.created, new.query, new.response, new.feedback, new.source, new.type, ready),
            )
            number = cursor.lastrowid
            self.write_all("INSERT OR IGNORE INTO uses VALUES (?, ?)", [(number, record) for record in used])
        stored = self.interaction(number or 0)
        if stored is None:
            raise StoreError("the interaction that was just stored is gone; the database is damaged")
        return stored

    def interaction(self, number: int) -> Interaction | None:
        """Return the interaction of that number, or None."""
        row = self.row(_SELECT_INTERACTION + "WHERE id = ?", (number,))
        return None if row is None else Interaction(*row)

    def set_feedback(self, number: int, *, feedback: str, good: bool | None, ready: bool) -> bool | None:
        """Note what became of an answer; an empty feedback or no rating leaves what was there.

        :param ready: there is something to learn from the interaction now.
        :returns: whether that is news: it was not ready before. None, and nothing is noted, if it is too late for a feedback:
            the interaction's episode is closed.
        """
        sql = """UPDATE interactions SET feedback = CASE WHEN ?1 = '' THEN feedback ELSE ?1 END,
            good = coalesce(?2, good), ready = ready OR ?3 WHERE id = ?4"""
        with self.transaction():
            was_ready, closed = self.row("SELECT ready, episode IS NOT NULL FROM interactions WHERE id = ?", (number,))
            if feedback and closed:
                return None
            self.write(sql, (feedback, good, ready, number))
        return ready and not was_ready

    def rating(self, number: int) -> bool | None:
        """Return how an answer was rated, or None if it was not."""
        row = self.row("SELECT good FROM interactions WHERE id = ?", (number,))
        return None if row is None or row[0] is None else bool(row[0])

    def used_for(self, number: int) -> list[bytes]:
        """Return the ids of the experiences that stood in the prompt of an answer, in no order."""
        return [row[0] for row in self.rows("SELECT record FROM uses WHERE interaction = ?", (number,))]

    def was_augmented(self, number: int) -> bool:
        """Return whether the interaction was answered with experiences in the prompt."""
        return self.row("SELECT 1 FROM uses WHERE interaction = ? LIMIT 1", (number,)) is not None

    def open_interactions(self) -> list[Interaction]:
        """Return what is ready to be learnt from and in no closed episode, oldest first."""
        rows = self.rows(_SELECT_INTERACTION + "WHERE ready AND episode IS NULL ORDER BY id")
        return [Interaction(*row) for row in rows]

    def close_episode(self, interactions: Iterable[int], *, now_ms: int) -> int:
        """Close an episode of these interactions; return its number."""
        with self.transaction():
            number = self.write("INSERT INTO episodes (closed) VALUES (?)", (now_ms,)).lastrowid or 0
            self.write_all("UPDATE interactions SET episode = ? WHERE id = ?", [(number, member) for member in interactions])
        return number

    def pending_episodes(self) -> list[int]:
        """Return the numbers of the closed episodes that nothing came of yet, oldest first."""
        return [row[0] for row in self.rows("SELECT id FROM episodes WHERE record IS NULL ORDER BY id")]

    def episode(self, number: int) -> list[Interaction]:
        """Return the interactions of an episode."""
        rows = self.rows(_SELECT_INTERACTION + "WHERE episode = ? ORDER BY id", (number,))
        return [Interaction(*row) for row in rows]

    def finish_episode(self, number: int, record: bytes) -> None:
        """Note the id of the experience that came of an episode."""
        with self.transaction():
            self.write("UPDATE episodes SET record = ? WHERE id = ?", (record, number))

    def experience_of(self, interaction: int) -> bytes | None:
        """Return the id of the experience that an interaction went into, once there is one."""
        row = self.row("SELECT e.record FROM interactions i JOIN episodes e ON e.id = i.episode WHERE i.id = ?", (interaction,))
        return None if row is None else row[0]

    # -- records and the view

    def insert_record(self, signed: SignedRecord, *, via: str, now_ms: int) -> bool:
        """Store a record; return whether it is new."""
        record = signed.record
        retraction = isinstance(record, Retraction)
        cursor = self.write(
            """INSERT INTO records (id, kind, type, author, method, target, created, received, via, data)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING""",
            (
                signed.id,
                "retraction" if retraction else "experience",
                record.type,
                record.author,
                "" if isinstance(record, Retraction) else record.method,
                record.target if isinstance(record, Retraction) else None,
                record.created,
                now_ms,
                via,
                encode(signed),
            ),
        )
        return cursor.rowcount > 0

    def retracted_by(self, target: bytes) -> list[bytes]:
        """Return the authors of the retractions of ``target``."""
        return [row[0] for row in self.rows("SELECT author FROM records WHERE target = ?", (target,))]

    def made_of(self, source: bytes) -> list[bytes]:
        """Return the condensates of our own that name ``source``."""
        return [row[0] for row in self.rows("SELECT id FROM records WHERE via = 'refined' AND instr(data, ?) > 0", (source,))]

    def author(self, record: bytes) -> bytes | None:
        """Return who signed a record, or None if it is not known."""
        row = self.row("SELECT author FROM records WHERE id = ?", (record,))
        return None if row is None else bytes(row[0])

    def received(self, record: bytes) -> int:
        """Return when a record came, milliseconds since the Unix epoch; 0 if it is not known."""
        row = self.row("SELECT received FROM records WHERE id = ?", (record,))
        return 0 if row is None else int(row[0])

    def set_state(self, record: bytes, state: str, by: bytes | None = None) -> None:
        """Set a record's state in the view; ``by`` is the record that stands for a superseded one."""
        sql = "INSERT INTO view VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET state = excluded.state, by = excluded.by"
        self.write(sql, (record, state, by))

    def state(self, record: bytes) -> tuple[str, bytes | None] | None:
        """Return a record's state in the view and the record that stands for it, or None if it has no state."""
        row = self.row("SELECT state, by FROM view WHERE record = ?", (record,))
        return None if row is None else (row[0], row[1])

    def stood_for_by(self, record: bytes) -> list[bytes]:
        """Return the superseded records that ``record`` stands for."""
        return [row[0] for row in self.rows("SELECT record FROM view WHERE by = ? ORDER BY record", (record,))]

    def data(self, record: bytes) -> tuple[bytes, str] | None:
        """Return an encoded record and by what way it came, or None. The data is empty when it was freed."""
        row = self.row("SELECT data, via FROM records WHERE id = ?", (record,))
        return None if row is None else (row[0], row[1])

    def is_kept(self, record: bytes) -> bool:
        """Return whether a record is there with its data."""
        return self.row("SELECT 1 FROM records WHERE id = ? AND length(data) > 0", (record,)) is not None

    def free(self, record: bytes) -> None:
        """Free the space of a record's data; its id stays known."""
        self.write("UPDATE records SET data = x'' WHERE id = ?", (record,))

    def created(self, type_: str, *, without: str) -> list[tuple[int, bytes]]:
        """Return when each record of a type was made, and its id; without those that came by the way ``without``."""
        return self.rows("SELECT created, id FROM records WHERE type = ? AND via != ?", (type_, without))

    def knows(self, record: bytes) -> bool:
        """Return whether there is a record of this id, with its data or without."""
        return self.row("SELECT 1 FROM records WHERE id = ?", (record,)) is not None

    def shared(self, record: bytes) -> Any:
        """Return (type, created, via, data, state) of a record, or None; a retraction has no state."""
        query = (
            "SELECT r.type, r.created, r.via, r.data, v.state FROM records r LEFT JOIN view v ON v.record = r.id WHERE r.id = ?"
        )
        return self.row(query, (record,))

    def withheld(self, record: bytes, type_: str, *, state: str) -> int | None:
        """Return when a record of a type was made whose data was freed, or that is in a state; None for any other."""
        query = """SELECT r.created FROM records r LEFT JOIN view v ON v.record = r.id
            WHERE r.id = ? AND r.type = ? AND (length(r.data) = 0 OR v.state = ?)"""
        row = self.row(query, (record, type_, state))
        return None if row is None else int(row[0])

    def ids_in_state(self, state: str) -> dict[bytes, str]:
        """Return the types of the records in a state of the view, by id."""
        query = "SELECT r.id, r.type FROM records r JOIN view v ON v.record = r.id WHERE v.state = ?"
        return dict(self.rows(query, (state,)))

    def newest(self, state: str, types: Sequence[str], limit: int) -> list[bytes]:
        """Return the ids of the newest records in a state, newest first."""
        query = f"""SELECT r.id FROM records r JOIN view v ON v.record = r.id
            WHERE v.state = ? AND r.type IN ({", ".join("?" * len(types))}) ORDER BY r.seq DESC LIMIT ?"""  # noqa: S608 - marks only
        return [row[0] for row in self.rows(query, (state, *types, limit))]

    def used_most(self, state: str, types: Sequence[str], limit: int, *, of_last: int) -> list[bytes]:
        """Return the ids of the records in a state that most of the last interactions used, the most used first."""
        query = f"""SELECT u.record FROM uses u JOIN view v ON v.record = u.record JOIN records r ON r.id = u.record
            WHERE u.interaction > (SELECT coalesce(max(id), 0) FROM interactions) - ? AND v.state = ?
            AND r.type IN ({", ".join("?" * len(types))})
            GROUP BY u.record ORDER BY count(*) DESC, max(u.interaction) DESC LIMIT ?"""  # noqa: S608 - marks only
        return [row[0] for row in self.rows(query, (of_last, state, *types, limit))]

    def exported(
        self, after: int, limit: int, *, without: Sequence[str], type_: str | None, author: bytes | None, local: str | None
    ) -> list[tuple[int, bytes]]:
        """Return the numbers and the data of the records behind the number ``after``, in the order in which they came.

        :param without: not those in these states of the view.
        :param local: not those that came by this way.
        """
        query = f"""SELECT r.seq, r.data FROM records r LEFT JOIN view v ON v.record = r.id
            WHERE r.seq > ? AND length(r.data) > 0 AND coalesce(v.state, '') NOT IN ({", ".join("?" * len(without))})
            AND r.type = coalesce(?, r.type) AND r.author = coalesce(?, r.author) AND r.via != coalesce(?, '')
            ORDER BY r.seq LIMIT ?"""  # noqa: S608 - marks only
        return self.rows(query, (after, *without, type_, author, local, limit))

    def find_ids(self, prefix: str) -> list[bytes]:
        """Return up to two ids whose hexadecimal form begins with ``prefix``."""
        if not all(digit in hexdigits for digit in prefix) or len(prefix) > 2 * ID_SIZE:
            return []
        least, most = (bytes.fromhex(prefix.ljust(2 * ID_SIZE, digit)) for digit in "0f")
        return [row[0] for row in self.rows("SELECT id FROM records WHERE id BETWEEN ? AND ? LIMIT 2", (least, most))]

    def size(self) -> int:
        """Return the bytes that the database takes on disk, free pages aside."""
        query = (
            "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
        )
        return int(self.row(query, ())[0])

    def types(self) -> list[str]:
        """Return the types that there are records of."""
        return [row[0] for row in self.rows("SELECT DISTINCT type FROM records ORDER BY type")]

    def counts(self) -> list[tuple[str, str, int]]:
        """Return (type, state, number) of the records in the view."""
        query = "SELECT type, state, records FROM tally WHERE records > 0 ORDER BY 1, 2"
        return [(row[0], row[1], row[2]) for row in self.rows(query)]

    def method_counts(self, author: bytes) -> dict[str, int]:
        """Return how many experiences of ``author`` came about by each method; those that stand for others do not count."""
        query = "SELECT method, records FROM authored WHERE author = ? ORDER BY 1"
        return {row[0]: row[1] for row in self.rows(query, (author,))}

    def interactions(self) -> int:
        """Return how many interactions there are."""
        return int(self.row("SELECT count(*) FROM interactions", ())[0])


@contextmanager
def _translated(path: Path | None) -> Iterator[None]:
    """Raise SQLite's errors as ours, with what to do about them."""
    where = "the store" if path is None else str(path)
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot use {where}: {error.strerror}; check the folder's permissions and free space") from error
    except sqlite3.Error as error:
        match getattr(error, "sqlite_errorname", "").split("_")[:2]:
            case ["SQLITE", "FULL"]:
                message = (
                    f"no room left for {where}; free some disk space and try again (nothing that was acknowledged is lost)"
                )
                raise StoreFull(message) from error
            case ["SQLITE", "NOTADB" | "CORRUPT"]:
                raise StoreDamaged(
                    f"{where} is damaged ({error}); restore a backup or choose another folder with --data"
                ) from error
            case _:
                raise StoreError(f"cannot use {where}: {error}; check the folder's permissions and free space") from error
