"""The store: migrations, versions, damage, a full disk, and `kill -9`."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from espeer import store as store_module
from espeer.errors import StoreDamaged, StoreError, StoreFull, StoreVersionError
from espeer.interaction import Interaction
from espeer.records import SignedRecord
from espeer.replica import Replica
from espeer.store import Store


def interaction(query: str = "The pump leaks.", **changes: object) -> Interaction:
    return Interaction(**({"id": 0, "created": 1, "query": query} | changes))  # type: ignore[arg-type]


def test_an_interaction_goes_through_its_episode(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "s.db")
    first = store.add_interaction(interaction(), ready=True)
    second = store.add_interaction(interaction("The valve hums."), ready=True)
    store.add_interaction(interaction("What is E42?", source="answer"), ready=False)
    assert store.open_interactions() == [first, second]
    number = store.close_episode([first.id], now_ms=2)
    assert store.open_interactions() == [second]
    assert store.pending_episodes() == [number]
    assert store.episode(number) == [first]
    assert store.experience_of(first.id) is None
    store.finish_episode(number, b"x" * 32)
    assert store.pending_episodes() == []
    assert store.experience_of(first.id) == b"x" * 32


def test_feedback_makes_an_answer_ready_once(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "s.db")
    answer = store.add_interaction(interaction(source="answer"), ready=False, used=[b"u" * 32])
    assert store.was_augmented(answer.id)
    assert not store.set_feedback(answer.id, feedback="", good=False, ready=False)
    assert store.set_feedback(answer.id, feedback="Turn it off.", good=None, ready=True)
    assert not store.set_feedback(answer.id, feedback="", good=True, ready=True)
    assert [found.feedback for found in store.open_interactions()] == ["Turn it off."]


def test_what_was_stored_is_there_after_reopening(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "s.db")
    kept = store.add_interaction(interaction(), ready=True)
    store.close()
    assert Store.open(tmp_path / "s.db").interaction(kept.id) == kept


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    Store.open(path).close()
    db = sqlite3.connect(path)
    db.execute("INSERT INTO _migrations VALUES (999, 'from the future')")
    db.commit()
    db.close()
    with pytest.raises(StoreVersionError, match=r"is of schema 999.*upgrade espeer"):
        Store.open(path)
    db = sqlite3.connect(path)
    assert db.execute("SELECT max(number) FROM _migrations").fetchone() == (999,)


def test_an_older_schema_is_migrated_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.db"
    store = Store.open(path)
    kept = store.add_interaction(interaction(), ready=True)
    store.close()

    def later(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE later (x INTEGER) STRICT")

    monkeypatch.setattr(store_module, "MIGRATIONS", [*store_module.MIGRATIONS, later])
    store = Store.open(path)
    assert store.interaction(kept.id) == kept
    assert store.row("SELECT count(*) FROM later", ()) == (0,)
    assert store.row("SELECT name FROM _migrations ORDER BY number DESC LIMIT 1", ()) == ("later",)


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.db"
    Store.open(path).close()

    def broken(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE half (x INTEGER) STRICT")
        db.execute("no such statement")

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "MIGRATIONS", [*store_module.MIGRATIONS, broken])
        with pytest.raises(StoreError):
            Store.open(path)
    with pytest.raises(StoreError):
        Store.open(path).row("SELECT * FROM half", ())


def test_somebody_elses_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE theirs (x)")
    db.commit()
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreDamaged, match="not an espeer store"):
        Store.open(path)
    assert path.read_bytes() == before


def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(b"this is no database at all" * 400)
    with pytest.raises(StoreDamaged, match=r"^[^\n]*damaged[^\n]*$"):
        Store.open(path)


def test_a_full_disk_refuses_and_loses_nothing(tmp_path: Path, experience: Callable[..., SignedRecord]) -> None:
    path = tmp_path / "s.db"
    store = Store.open(path, max_pages=40)
    replica = Replica(store, types=["pumps"], clock=lambda: 1)
    acknowledged: list[bytes] = []
    with pytest.raises(StoreFull, match="free some disk space"):  # noqa: PT012 - it is full at some point, not at a known one
        for number in range(200):
            signed = experience(f"Fault number {number}. " + "Purge the line. " * 60)
            replica.add([signed], via="own")
            acknowledged.append(signed.id)
    assert acknowledged
    assert len(replica) == len(acknowledged)  # what was refused is not in the index either
    assert set(replica.keys("pumps").ids()) == set(acknowledged)
    with pytest.raises(StoreFull):
        store.add_interaction(interaction("x" * 8000), ready=True)
    store.close()
    reopened = Replica(Store.open(path), types=["pumps"], clock=lambda: 1)
    assert set(reopened.keys("pumps").ids()) == set(acknowledged)
    assert reopened.add([experience("There is room again.")], via="own")


WRITER = """
import sys
from pathlib import Path
from nacl.signing import SigningKey
from espeer import records
from espeer.replica import Replica
from espeer.interaction import Interaction
from espeer.store import Store

folder, start = Path(sys.argv[1]), int(sys.argv[2])
key = SigningKey(bytes(range(32)))
store = Store.open(folder / "s.db")
replica = Replica(store, types=["pumps"], clock=lambda: 1)
for number in range(start, start + 100_000):
    kept = store.add_interaction(Interaction(0, number, f"query {number}"), ready=True)
    print("interaction", kept.id, flush=True)
    episode = store.close_episode([kept.id], now_ms=number)
    text = f"Fault {number}: purge the line."
    value = records.Experience("pumps", text, number, bytes(key.verify_key), "fake", "distilled")
    signed = records.sign(value, lambda digest: key.sign(digest).signature)
    replica.add([signed], via="own", episode=episode)
    print("record", signed.id.hex(), episode, flush=True)
"""


def test_kill_9_in_the_middle_of_writes_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """Sixty times: write until killed at a random moment; everything that was acknowledged must be there, whole."""
    rng = random.Random(7)
    interactions: list[int] = []
    record_ids: dict[str, int] = {}
    for round_ in range(60):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(round_ * 100_000)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(rng.randrange(1, 40)):  # it goes on writing while we decide
                line = writer.stdout.readline()
                assert line, "the writer failed"
                note(line, interactions, record_ids)
            os.kill(writer.pid, signal.SIGKILL)
            for line in writer.stdout:  # acknowledged before it died
                if line.endswith("\n"):
                    note(line, interactions, record_ids)
    store = Store.open(tmp_path / "s.db")
    assert store.row("PRAGMA integrity_check", ()) == ("ok",)
    assert all(store.interaction(number) for number in interactions)
    replica = Replica(store, types=["pumps"], clock=lambda: 1)
    assert record_ids.keys() <= {found.hex() for found in replica.keys("pumps").ids()}
    for identifier, episode in record_ids.items():
        assert store.experience_of(store.episode(episode)[0].id) == bytes.fromhex(identifier)
    assert len(store.pending_episodes()) <= 60  # at most the one that each kill cut off, and those are still to be done
    assert len(interactions) > 60


def note(line: str, interactions: list[int], record_ids: dict[str, int]) -> None:
    match line.split():
        case ["interaction", number]:
            interactions.append(int(number))
        case ["record", identifier, episode]:
            record_ids[identifier] = int(episode)


def test_an_older_store_learns_when_its_records_were_made(tmp_path: Path, experience: Callable[..., SignedRecord]) -> None:
    kept, freed, odd = [experience(f"E4{number} means air in the line.") for number in range(3)]
    store = Store.open(tmp_path / "s.db")
    Replica(store, types=["pumps"], clock=lambda: 1).add([kept, freed, odd], via="own")
    store.free(freed.id)
    store.write("UPDATE records SET data = x'c0' WHERE id = ?", (odd.id,))
    for undo in (  # what the steps from 3 on did
        "DROP TRIGGER authored_new",
        "DROP TABLE authored",
        "DROP TRIGGER tally_new",
        "DROP TRIGGER tally_changed",
        "DROP TABLE tally",
        "DROP TABLE submissions",
        "ALTER TABLE records DROP COLUMN created",
    ):
        store.write(undo, ())
    store.write("DELETE FROM _migrations WHERE number >= 3", ())
    store.close()
    migrated = Store.open(tmp_path / "s.db")
    assert migrated.counts() == [("pumps", "active", 3)]
    assert migrated.method_counts(kept.record.author) == {"distilled": 3}
    assert dict(map(reversed, migrated.created("pumps", without=""))) == {kept.id: kept.record.created, freed.id: 0, odd.id: 0}


def test_a_store_is_closed_only_when_the_call_under_way_is_done(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "s.db")
    assert store.size() > 0
    closing = threading.Thread(target=store.close)
    with store.lock:
        closing.start()
        assert store.types() == []
        assert closing.is_alive()
    closing.join(10)
    with pytest.raises(StoreError, match="cannot use the store"):
        store.types()


def test_what_is_counted_is_what_is_there(tmp_path: Path, experience: Callable[..., SignedRecord]) -> None:
    store = Store.open(tmp_path / "s.db")
    replica = Replica(store, types=["pumps", "valves"], clock=lambda: 1)
    pumps = [experience(f"E4{number} means air in the line.") for number in range(4)]
    valves = [experience("V1 sticks when cold.", type="valves")]

    def counted() -> list[tuple[str, str, int]]:
        query = "SELECT r.type, v.state, count(*) FROM records r JOIN view v ON v.record = r.id GROUP BY 1, 2 ORDER BY 1, 2"
        return [(row[0], row[1], row[2]) for row in store.rows(query)]

    assert store.counts() == []
    replica.add(pumps + valves, via="own")
    replica.add(pumps, via="own")
    assert store.counts() == counted() == [("pumps", "active", 4), ("valves", "active", 1)]
    store.set_state(pumps[0].id, "superseded", pumps[1].id)
    store.set_state(pumps[0].id, "superseded", pumps[2].id)
    store.set_state(valves[0].id, "evicted")
    assert store.counts() == counted() == [("pumps", "active", 3), ("pumps", "superseded", 1), ("valves", "evicted", 1)]

    def fail() -> None:
        with store.transaction():
            store.set_state(pumps[1].id, "evicted")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.counts() == counted()
    store.set_state(pumps[0].id, "active")
    assert store.counts() == counted() == [("pumps", "active", 4), ("valves", "evicted", 1)]
    assert store.interactions() == 0
    assert store.method_counts(pumps[0].record.author) == {"distilled": 5}
    assert store.method_counts(bytes(32)) == {}
