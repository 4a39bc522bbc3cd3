"""A store of every older schema becomes one of the latest with all that is in it, or stays as it was."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from espeer.records import SignedRecord, encode
from espeer.replica import Replica
from espeer.schema import MIGRATIONS
from espeer.store import APPLICATION_ID, Store

Make = Callable[..., SignedRecord]


def old_store(path: Path, schema: int, records: list[SignedRecord]) -> None:
    """Make a store of an older schema with something in each of its tables, as an espeer of then did."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute("CREATE TABLE _migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT")
    for number, step in enumerate(MIGRATIONS[:schema], 1):
        step(db)
        db.execute("INSERT INTO _migrations VALUES (?, ?)", (number, step.__name__))
    active, superseded = records
    db.execute("INSERT INTO episodes (id, closed, record) VALUES (1, 5, ?)", (active.id,))
    db.execute("INSERT INTO interactions VALUES (1, 4, 'The pump leaks.', '', 'Purge it.', 'user', '', 1, NULL, 1)")
    db.execute("INSERT INTO interactions VALUES (2, 6, 'What now?', 'Purge it.', '', 'answer', '', 0, 1, NULL)")
    db.execute("INSERT INTO uses VALUES (2, ?)", (active.id,))
    for signed in records:
        columns = "id, kind, type, author, method, received, via, data"
        row = (signed.id, "experience", "pumps", signed.record.author, "distilled", 7, "gossip", encode(signed))
        db.execute(f"INSERT INTO records ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        db.execute("INSERT INTO view (record, state) VALUES (?, 'active')", (signed.id,))
    if schema >= 2:
        db.execute("INSERT INTO refinements VALUES (1, 8, 'asked', 'raw', 9.0, '', 1, 9, NULL)")
        db.execute("INSERT INTO changes VALUES (1, 1, ?, 'active', NULL, 'superseded', ?)", (superseded.id, active.id))
        db.execute("UPDATE view SET state = 'superseded', by = ? WHERE record = ?", (active.id, superseded.id))
    if schema >= 3:
        db.executemany("UPDATE records SET created = ? WHERE id = ?", [(s.record.created, s.id) for s in records])
    if schema >= 4:
        db.execute("INSERT INTO submissions (id, data) VALUES (?, ?)", (active.id, encode(active)))
    db.close()


@pytest.mark.parametrize("schema", range(1, len(MIGRATIONS) + 1))
def test_every_older_store_is_migrated_with_all_that_is_in_it(tmp_path: Path, experience: Make, schema: int) -> None:
    records = [experience("E42 means air in the line."), experience("E42 means air.")]
    old_store(tmp_path / "s.db", schema, records)
    for _ in range(2):  # and opened again it stays so
        store = Store.open(tmp_path / "s.db")
        assert store.row("SELECT count(*), max(number) FROM _migrations", ()) == (len(MIGRATIONS), len(MIGRATIONS))
        assert store.row("PRAGMA integrity_check", ()) == ("ok",)
        asked, answered = store.interaction(1), store.interaction(2)
        assert asked is not None
        assert answered is not None
        assert (asked.query, asked.feedback, answered.source, store.rating(2)) == (
            "The pump leaks.",
            "Purge it.",
            "answer",
            True,
        )
        assert store.experience_of(1) == records[0].id
        assert store.used_for(2) == [records[0].id]
        assert dict(map(reversed, store.created("pumps", without=""))) == {s.id: s.record.created for s in records}
        assert sum(number for _, _, number in store.counts()) == 2
        assert store.method_counts(records[0].record.author) == {"distilled": 2}
        replica = Replica(store, types=["pumps"], clock=lambda: 10)
        assert len(replica.recall("What is E42?", 5)) == (1 if schema >= 2 else 2)
        store.close()
    replica = Replica(Store.open(tmp_path / "s.db"), types=["pumps"], clock=lambda: 10)
    assert len(replica.add([experience("K7 means heat.")], via="own")) == 1


def test_the_fixtures_know_of_every_step() -> None:
    assert len(MIGRATIONS) == 5, "put rows of the new step's tables into old_store() first"


KILLED = """
import os, signal, sqlite3, sys
from pathlib import Path
from espeer import store

def half(db):
    db.execute("CREATE TABLE half (x TEXT) STRICT")
    db.executemany("INSERT INTO half VALUES (?)", [("x" * 1000,) for _ in range(20_000)])  # more than the cache
    db.execute("UPDATE interactions SET query = 'changed'")
    db.execute("DROP TABLE uses")
    os.kill(os.getpid(), signal.SIGKILL)

store.MIGRATIONS.append(half)
store.Store.open(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("schema", [1, len(MIGRATIONS)])
def test_a_migration_that_is_killed_leaves_the_old_store(tmp_path: Path, experience: Make, schema: int) -> None:
    path = tmp_path / "s.db"
    old_store(path, schema, [experience("E42 means air in the line."), experience("E42 means air.")])
    with sqlite3.connect(path) as db:
        before = list(db.iterdump())
    db.close()
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert path.with_name("s.db-wal").stat().st_size > 1_000_000, "it had come far"
    with sqlite3.connect(path) as db:
        assert list(db.iterdump()) == before
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    assert Store.open(path).interaction(1) is not None
