"""The tables of the store, as numbered migrations: a store of any older schema becomes one of the latest."""

import sqlite3
from collections.abc import Callable
from typing import Final

from espeer.errors import RecordError
from espeer.records import load

Migration = Callable[[sqlite3.Connection], None]
MIGRATIONS: Final[list[Migration]] = []


def _migration(step: Migration) -> Migration:
    """Register the next step of the schema; its number is its place in the file, so steps are only ever appended."""
    MIGRATIONS.append(step)
    return step


@_migration
def _m001_initial(db: sqlite3.Connection) -> None:
    for statement in (
        # an episode is closed when it has a row here; `record` tells what came of it
        "CREATE TABLE episodes (id INTEGER PRIMARY KEY, closed INTEGER NOT NULL, record BLOB) STRICT",
        # `ready`: holds something to learn, see espeer.lifecycle.learner; `good`: how the answer was rated, 0 or 1
        """CREATE TABLE interactions (
            id INTEGER PRIMARY KEY, created INTEGER NOT NULL, query TEXT NOT NULL, response TEXT NOT NULL,
            feedback TEXT NOT NULL, source TEXT NOT NULL, type TEXT NOT NULL, ready INTEGER NOT NULL, good INTEGER,
            episode INTEGER REFERENCES episodes (id)) STRICT""",
        "CREATE INDEX interactions_open ON interactions (id) WHERE ready AND episode IS NULL",
        "CREATE INDEX interactions_by_episode ON interactions (episode)",
        # which experiences an answer was given with
        """CREATE TABLE uses (interaction INTEGER NOT NULL REFERENCES interactions (id), record BLOB NOT NULL,
            PRIMARY KEY (interaction, record)) STRICT, WITHOUT ROWID""",
        """CREATE TABLE records (
            seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, kind TEXT NOT NULL, type TEXT NOT NULL,
            author BLOB NOT NULL, method TEXT NOT NULL, target BLOB, received INTEGER NOT NULL, via TEXT NOT NULL,
            data BLOB NOT NULL) STRICT""",
        "CREATE INDEX records_by_type ON records (type, seq)",
        "CREATE INDEX records_by_target ON records (target) WHERE target IS NOT NULL",
        # the view: what recall may see; can be rebuilt from the records and local decisions
        "CREATE TABLE view (record BLOB PRIMARY KEY, state TEXT NOT NULL) STRICT, WITHOUT ROWID",
        "CREATE INDEX view_by_state ON view (state)",
    ):
        db.execute(statement)


@_migration
def _m002_refinement(db: sqlite3.Connection) -> None:
    for statement in (
        # `by`: the record that stands for a superseded one
        "ALTER TABLE view ADD COLUMN by BLOB",
        "CREATE INDEX view_by_by ON view (by) WHERE by IS NOT NULL",
        # `seen`: the highest records.seq at the start; `finished` and `undone`: when, if they were
        """CREATE TABLE refinements (
            id INTEGER PRIMARY KEY, started INTEGER NOT NULL, reason TEXT NOT NULL, scale TEXT NOT NULL,
            threshold REAL NOT NULL, type TEXT NOT NULL, seen INTEGER NOT NULL, finished INTEGER, undone INTEGER) STRICT""",
        # what a run did to the view, in order: state and `by`, before (no state: the run made the record) and after
        """CREATE TABLE changes (
            id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES refinements (id), record BLOB NOT NULL,
            before TEXT NOT NULL, before_by BLOB, after TEXT NOT NULL, after_by BLOB) STRICT""",
        "CREATE INDEX changes_by_run ON changes (run)",
        "CREATE INDEX changes_by_record ON changes (record)",
        "CREATE INDEX uses_by_record ON uses (record)",
        "CREATE INDEX records_refined ON records (id) WHERE via = 'refined'",
    ):
        db.execute(statement)


@_migration
def _m003_created(db: sqlite3.Connection) -> None:
    # when the author made a record, milliseconds; of what was evicted before this column was there it is not known: 0
    db.execute("ALTER TABLE records ADD COLUMN created INTEGER NOT NULL DEFAULT 0")
    rows = db.execute("SELECT seq, data FROM records WHERE length(data) > 0").fetchall()
    db.executemany("UPDATE records SET created = ? WHERE seq = ?", [(_created(data), seq) for seq, data in rows])


def _created(data: bytes) -> int:
    """When a record was made; 0 for one that an earlier espeer took and this one does not."""
    try:
        return load(data).record.created
    except RecordError:
        return 0


@_migration
def _m004_submissions(db: sqlite3.Connection) -> None:
    # a client's experiences that no server has yet, in the order in which they were made; see espeer.submissions
    # AUTOINCREMENT: a place is never given twice, not even when the queue was empty
    db.execute(
        "CREATE TABLE submissions (seq INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, data BLOB NOT NULL) STRICT"
    )


@_migration
def _m005_tally(db: sqlite3.Connection) -> None:
    for statement in (
        # how many records of a type are in a state: to count them takes a third of a second for 100,000, and is asked often
        """CREATE TABLE tally (type TEXT NOT NULL, state TEXT NOT NULL, records INTEGER NOT NULL,
            PRIMARY KEY (type, state)) STRICT, WITHOUT ROWID""",
        "INSERT INTO tally SELECT r.type, v.state, count(*) FROM records r JOIN view v ON v.record = r.id GROUP BY 1, 2",
        f"CREATE TRIGGER tally_new AFTER INSERT ON view BEGIN {_tallied('new', 1)}; END",
        f"""CREATE TRIGGER tally_changed AFTER UPDATE OF state ON view WHEN old.state != new.state
            BEGIN {_tallied("old", -1)}; {_tallied("new", 1)}; END""",
        # how many experiences of an author came about by a method, without condensates of ours
        """CREATE TABLE authored (author BLOB NOT NULL, method TEXT NOT NULL, records INTEGER NOT NULL,
            PRIMARY KEY (author, method)) STRICT, WITHOUT ROWID""",
        """INSERT INTO authored SELECT author, method, count(*) FROM records
            WHERE kind = 'experience' AND via != 'refined' GROUP BY 1, 2""",
        """CREATE TRIGGER authored_new AFTER INSERT ON records WHEN new.kind = 'experience' AND new.via != 'refined'
            BEGIN INSERT INTO authored VALUES (new.author, new.method, 1)
            ON CONFLICT DO UPDATE SET records = records + 1; END""",
    ):
        db.execute(statement)


def _tallied(row: str, by: int) -> str:
    return f"""INSERT INTO tally SELECT type, {row}.state, {by} FROM records WHERE id = {row}.record
        ON CONFLICT DO UPDATE SET records = records + ({by})"""  # noqa: S608 - ours
