"""Backups: whole, of one moment, never over anything; and what is put back is checked."""

import hashlib
import io
import json
import sqlite3
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from espeer import Config, FakeModel, Node, ownfile
from espeer import backup as backup_module
from espeer.backup import back_up, restore
from espeer.errors import ConfigError, EspeerError, InputError, StoreDamaged, StoreVersionError
from espeer.schema import MIGRATIONS
from espeer.store import APPLICATION_ID, Store


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Make the folder of a node that has learnt something in a private network."""
    trio.run(learn, tmp_path / "a")
    return tmp_path / "a"


async def learn(data: Path) -> None:
    config = Config(data=data, private=True, episode_age=1e6, warming=False)
    async with Node(config, model=FakeModel()) as node:
        await node.learn("Pump P7 shows E42.", feedback="Purge the line.", wait=True)


def made(data: Path, to: Path) -> Path:
    return back_up(data, to, clock=lambda: 1_800_000_000_000).file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_put_back_is_the_node_again(data: Path, tmp_path: Path) -> None:
    file = made(data, tmp_path)
    assert file.name.endswith("-20270115T080000Z.tar")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    done = restore(file, tmp_path / "new" / "b")
    assert done.records == 1
    assert stat.S_IMODE((tmp_path / "new" / "b").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new" / "b").iterdir()} == {0o600}

    async def look() -> None:
        async with Node(Config(data=tmp_path / "new" / "b", warming=False), model=FakeModel()) as node:
            assert node.identity.peer_id == done.peer_id
            assert node.config.psk is not None
            assert len(await node.recall("P7 E42")) == 1

    trio.run(look)
    assert names(tmp_path) == ["a", file.name, "new"]  # nothing else is left lying about
    assert names(tmp_path / "new") == ["b"]


async def test_a_node_backs_itself_up_and_what_it_deleted_is_not_in_there(tmp_path: Path) -> None:
    async with Node(Config(data=tmp_path / "a", offline=True, warming=False), model=FakeModel()) as node:
        learnt = await node.learn("Zyzzyva shows E42.", feedback="Purge the line.", wait=True)
        await node.learn("Pump P7 shows E43.", wait=True)
        store = node._parts.store
        for statement in (
            "UPDATE records SET data = x'' WHERE id = ?",
            "UPDATE interactions SET query = '' WHERE ? != ''",
        ):
            store.write(statement, (bytes.fromhex(learnt.experience or ""),))
        done = await node.back_up(tmp_path / "b.tar")
    assert done.records == 2
    assert b"Zyzzyva" not in done.file.read_bytes()
    assert b"E43" in done.file.read_bytes()


def test_nothing_is_overwritten_and_what_fails_leaves_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = made(data, tmp_path / "b.tar")
    before = file.read_bytes()
    with pytest.raises(InputError, match="is there already"):
        made(data, file)
    assert file.read_bytes() == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for place in (tmp_path / "full", data, file):
        with pytest.raises(InputError, match="is not empty"):
            restore(file, place)
    with pytest.raises(ConfigError, match="no node's data"):
        made(tmp_path / "none", tmp_path / "c.tar")

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup_module, "_write", broken)
    with pytest.raises(InputError, match=r"cannot write .*: No space left"):
        made(data, tmp_path / "c.tar")
    monkeypatch.setattr(backup_module, "_save", broken)
    with pytest.raises(EspeerError, match="No space left"):
        restore(file, tmp_path / "new")
    assert names(tmp_path) == ["a", "b.tar", "full"]


def test_two_that_make_the_same_file_do_not_overwrite_each_other(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError), ownfile.new(tmp_path / "x"):
        (tmp_path / "x").write_bytes(b"theirs")
    assert (tmp_path / "x").read_bytes() == b"theirs"
    assert names(tmp_path) == ["x"]


def test_an_empty_folder_will_do(data: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir(mode=0o755)
    inode = (tmp_path / "b").stat().st_ino
    restore(made(data, tmp_path / "b.tar"), tmp_path / "b")
    found = (tmp_path / "b").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_ino) == (0o700, inode)  # its parent may not be ours to change
    assert names(tmp_path / "b") == ["espeer.db", "identity.key", "membership"]


def repacked(file: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Write a backup anew with other contents."""
    with tarfile.open(file) as tar:
        parts = {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]
    change(parts)
    changed = file.with_name("changed.tar")
    with tarfile.open(changed, "w") as tar:
        for name, content in parts.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return changed


def listing(parts: dict[str, bytes], **changes: object) -> None:
    parts["espeer-backup.json"] = json.dumps(json.loads(parts["espeer-backup.json"]) | changes).encode()


def no_list(parts: dict[str, bytes]) -> None:
    del parts["espeer-backup.json"]


def no_identity(parts: dict[str, bytes]) -> None:
    del parts["identity.key"]


def other_bytes(parts: dict[str, bytes]) -> None:
    parts["espeer.db"] = parts["espeer.db"][:-1] + b"x"


def a_way_out(parts: dict[str, bytes]) -> None:
    files = json.loads(parts["espeer-backup.json"])["files"]
    listing(parts, files=files | {"../evil": files["membership"]})
    parts["../evil"] = parts["membership"]


@pytest.mark.parametrize("change", [no_list, no_identity, other_bytes, a_way_out, lambda parts: listing(parts, files=[])])
def test_what_is_damaged_is_refused(data: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    changed = repacked(made(data, tmp_path / "b.tar"), change)
    with pytest.raises(StoreDamaged, match=r"^[^\n]*(damaged|not a backup)[^\n]*$"):
        restore(changed, tmp_path / "b")
    assert names(tmp_path) == ["a", "b.tar", "changed.tar"]


def hostile(file: Path, name: str, entry: tarfile.TarInfo, content: bytes = b"", **listed: object) -> Path:
    """Write a backup anew with another entry of that name, listed as it wants."""
    made = file.with_name("hostile.tar")
    with tarfile.open(file) as old, tarfile.open(made, "w", format=tarfile.PAX_FORMAT) as new:
        for part in old:
            inside = old.extractfile(part).read()  # type: ignore[union-attr]
            if part.name == "espeer-backup.json":
                told = json.loads(inside)
                told["files"][name] |= listed
                inside = json.dumps(told).encode()
            if part.name != name:
                part.size = len(inside)
                new.addfile(part, io.BytesIO(inside))
        entry.name = name
        new.addfile(entry, io.BytesIO(content))
    return made


def test_a_file_with_holes_fills_no_disk(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []

    def save(content: object, path: Path) -> tuple[int, str]:
        saved.append(1)
        return 0, ""

    entry = tarfile.TarInfo()
    entry.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.map": f"{2**40},0",
        "GNU.sparse.size": str(2**40),
    }
    changed = hostile(made(data, tmp_path / "b.tar"), "espeer.db", entry, bytes=2**40)
    monkeypatch.setattr(backup_module, "_save", save)
    with pytest.raises(StoreDamaged, match="not a file in it"):
        restore(changed, tmp_path / "b")
    assert not saved


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
def test_what_is_no_file_is_not_read(data: Path, tmp_path: Path, kind: bytes) -> None:
    entry = tarfile.TarInfo()
    entry.type = kind
    entry.linkname = "identity.key"  # itself
    changed = hostile(made(data, tmp_path / "b.tar"), "identity.key", entry, bytes=0)
    with pytest.raises(StoreDamaged, match="not a file in it"):
        restore(changed, tmp_path / "b")


@pytest.mark.parametrize("created", [-1, 10**18, 10**400])
def test_a_moment_that_no_calendar_has_is_refused(data: Path, tmp_path: Path, created: int) -> None:
    changed = repacked(made(data, tmp_path / "b.tar"), lambda parts: listing(parts, created=created))
    with pytest.raises(StoreDamaged, match="not a backup"):
        restore(changed, tmp_path / "b")


@pytest.mark.parametrize(
    "statements",
    [
        "CREATE TRIGGER evil AFTER INSERT ON records BEGIN DELETE FROM interactions; END",
        "DROP TRIGGER tally_new; CREATE TRIGGER tally_new AFTER INSERT ON view BEGIN DELETE FROM records; END",
        """ALTER TABLE records RENAME TO others;
            CREATE VIEW records AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n""",
        "CREATE VIRTUAL TABLE evil USING fts5(x)",
    ],
)
def test_a_database_that_does_something_by_itself_is_refused(data: Path, tmp_path: Path, statements: str) -> None:
    def change(parts: dict[str, bytes]) -> None:
        path = tmp_path / "evil.db"
        path.write_bytes(parts["espeer.db"])
        with sqlite3.connect(path) as db:
            db.executescript(statements)
        db.close()
        parts["espeer.db"] = path.read_bytes()
        files = json.loads(parts["espeer-backup.json"])["files"]
        digest = hashlib.sha256(parts["espeer.db"]).hexdigest()
        listing(parts, files=files | {"espeer.db": {"bytes": len(parts["espeer.db"]), "sha256": digest}})

    changed = repacked(made(data, tmp_path / "b.tar"), change)
    with pytest.raises(StoreDamaged, match="did not put there"):
        restore(changed, tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("content", [b"", b"no tar file at all" * 100])
def test_what_is_no_backup_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(StoreDamaged, match="damaged, or not a backup"):
        restore(tmp_path / "x.tar", tmp_path / "b")
    with pytest.raises(InputError, match="there is no file"):
        restore(tmp_path / "y.tar", tmp_path / "b")


@pytest.mark.parametrize("change", [{"format": 2}, {"schema": len(MIGRATIONS) + 1}])
def test_what_a_newer_espeer_made_is_refused(data: Path, tmp_path: Path, change: dict[str, int]) -> None:
    changed = repacked(made(data, tmp_path / "b.tar"), lambda parts: listing(parts, **change))
    with pytest.raises(StoreVersionError, match="made by a newer espeer"):
        restore(changed, tmp_path / "b")


def test_a_cut_off_backup_is_refused(data: Path, tmp_path: Path) -> None:
    whole = made(data, tmp_path / "b.tar").read_bytes()
    for size in (300, 5_000, len(whole) // 2):
        (tmp_path / "cut.tar").write_bytes(whole[:size])
        with pytest.raises(StoreDamaged):
            restore(tmp_path / "cut.tar", tmp_path / "b")


def test_a_backup_of_an_older_schema_is_migrated_by_the_next_start(data: Path, tmp_path: Path) -> None:
    (data / "espeer.db").unlink()
    with sqlite3.connect(data / "espeer.db") as db:  # of the first schema
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("CREATE TABLE _migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT")
        MIGRATIONS[0](db)
        db.execute("INSERT INTO _migrations VALUES (1, 'first')")
    db.close()
    restore(made(data, tmp_path / "b.tar"), tmp_path / "b")
    store = Store.open(tmp_path / "b" / "espeer.db")
    assert store.row("SELECT max(number) FROM _migrations", ()) == (len(MIGRATIONS),)
