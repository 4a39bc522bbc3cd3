"""Backups of a data folder: made while its node is at work, and put back into a new folder.

A backup is a tar file, its user's alone: the database as it is at one moment, the node's private key, which network it belongs
to, whom it met, and a list of these with their digests. What can be worked out again is left out.
"""

import hashlib
import json
import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Final

from espeer import ownfile
from espeer.errors import ConfigError, InputError, StoreDamaged, StoreError, StoreFull, StoreVersionError
from espeer.folder import identity_path, membership_path, peers_path, store_path
from espeer.p2p.identity import load_existing
from espeer.schema import MIGRATIONS
from espeer.store import APPLICATION_ID

_LIST: Final = "espeer-backup.json"
_FORMAT: Final = 1
_MAX_LIST: Final = 64 * 1024
_MAX_SMALL: Final = 16 * 1024 * 1024
_MAX_CREATED: Final = 2**47  # milliseconds; datetime goes on for another 3,500 years
_BLOCK: Final = 1024 * 1024
_STORE: Final = store_path(Path()).name
_IDENTITY: Final = identity_path(Path()).name
_SMALL: Final = (_IDENTITY, membership_path(Path()).name, peers_path(Path()).name)


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup.

    :ivar file: where it is.
    :ivar peer_id: whose it is.
    :ivar created: when it was begun, milliseconds since the Unix epoch: all that was acknowledged before is in it.
    :ivar records: how many records are in it.
    :ivar bytes: its size.
    """

    file: Path
    peer_id: str
    created: int
    records: int
    bytes: int


def back_up(data: Path, to: Path, *, clock: Callable[[], int]) -> Backup:
    """Make a backup of a data folder, whose node may be at work.

    :param to: the file, which must not be there yet; or a folder, in which it gets a name.
    :param clock: milliseconds since the Unix epoch.
    :raises InputError: there is such a file already, or it cannot be written.
    :raises ConfigError: the folder is not a node's.
    :raises StoreError: its database cannot be read.
    """
    if not store_path(data).is_file():
        raise ConfigError(f"there is no node's data in {data}; name its folder with --data")
    now = clock()
    peer_id = load_existing(identity_path(data)).peer_id
    if to.is_dir():
        to = to / f"espeer-{peer_id[-8:]}-{datetime.fromtimestamp(now / 1000, UTC):%Y%m%dT%H%M%SZ}.tar"
    try:
        with ownfile.new(to) as file, tempfile.TemporaryDirectory(prefix=".espeer-", dir=to.parent) as work:  # mode 0700
            copy = Path(work) / _STORE
            records, schema = _copy_store(store_path(data), copy)
            parts = {_STORE: copy} | {name: data / name for name in _SMALL if (data / name).is_file()}
            told = {"format": _FORMAT, "created": now, "peer_id": peer_id, "records": records, "schema": schema}
            _write(file, told, parts)
    except FileExistsError as error:
        raise InputError(f"{to} is there already; choose another name") from error
    except OSError as error:
        raise InputError(f"cannot write {to}: {error.strerror}") from error
    return Backup(to, peer_id, now, records, to.stat().st_size)


def restore(backup: Path, data: Path) -> Backup:
    """Put a backup into a data folder that is not there yet, or is empty. It is all there in the end, or nothing is.

    :raises InputError: the backup cannot be read, or is not one; or there is something in the folder.
    :raises StoreDamaged: the backup is damaged.
    :raises StoreVersionError: a newer espeer made it.
    :raises StoreError: no room.
    """
    data = data.absolute()
    try:
        if data.exists() and not (data.is_dir() and not any(data.iterdir())):
            raise InputError(f"{data} is not empty; name a new folder with --data")
        data.parent.mkdir(parents=True, exist_ok=True)
        there = data.exists()
        with _aside(data if there else data.parent) as work:  # the parent may be another user's
            told = _extract(backup, work)
            records = _check_store(work / _STORE)
            peer_id = load_existing(work / _IDENTITY).peer_id
            ownfile.keep_names(work)
            if there:
                data.chmod(0o700)
                for name in sorted(told["files"], key=lambda name: name == _STORE):
                    (work / name).rename(data / name)
            else:
                work.rename(data)
        ownfile.keep_names(data if there else data.parent)
    except (tarfile.TarError, EOFError, KeyError, ValueError, OverflowError, MemoryError, RecursionError) as error:
        raise StoreDamaged(f"{backup} is damaged, or not a backup; take another one") from error
    except OSError as error:
        raise StoreError(f"cannot restore {backup} to {data}: {error.strerror}; see that there is room") from error
    return Backup(backup, peer_id, told["created"], records, backup.stat().st_size)


@contextmanager
def _aside(parent: Path) -> Iterator[Path]:
    """Make a folder of mode 0700 somewhere in another; it is gone in the end if nobody renamed it."""
    with tempfile.TemporaryDirectory(prefix=".espeer-", dir=parent) as outer:
        work = Path(outer) / "data"
        work.mkdir(mode=0o700)
        yield work


def _copy_store(source: Path, copy: Path) -> tuple[int, int]:
    """Copy a database as it is at this moment; return its numbers of records and of its schema. Writers need not wait."""
    try:
        with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True, timeout=30)) as db:
            if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                raise StoreDamaged(f"{source} is not an espeer store")
            db.execute("VACUUM INTO ?", (str(copy),))  # without the free pages, which can hold what was deleted
        with closing(sqlite3.connect(copy)) as db:
            records = db.execute("SELECT count(*) FROM records").fetchone()[0]
            return records, db.execute("SELECT max(number) FROM _migrations").fetchone()[0]
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "").startswith("SQLITE_FULL"):
            raise StoreFull(f"no room for the backup in {copy.parent.parent}; choose another place") from error
        raise StoreError(f"cannot copy {source}: {error}") from error


def _write(file: IO[bytes], told: dict[str, Any], parts: dict[str, Path]) -> None:
    sizes = {name: path.stat().st_size for name, path in parts.items()}
    listed = {name: {"bytes": sizes[name], "sha256": _digest(path)} for name, path in parts.items()}
    text = json.dumps(told | {"files": listed}, indent=1).encode()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, _LIST, BytesIO(text), len(text), told["created"])
        for name, path in parts.items():
            with path.open("rb") as part:
                _add(tar, name, part, sizes[name], told["created"])


def _add(tar: tarfile.TarFile, name: str, content: IO[bytes], size: int, created: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o600, created // 1000
    tar.addfile(entry, content)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _extract(backup: Path, work: Path) -> dict[str, Any]:
    """Write the files of a backup into a folder; only those that it may have, and only as they are listed."""
    if not backup.is_file():
        raise InputError(f"there is no file {backup}")
    with tarfile.open(backup, mode="r:") as tar:
        told = _list(tar)
        for name, listed in told["files"].items():
            entry = tar.getmember(name)
            content = tar.extractfile(entry) if _is_plain(entry, listed["bytes"]) else None
            if content is None:
                raise StoreDamaged(f"{backup} is damaged: {name} is not a file in it, or not as long as it was")
            if _save(content, work / name) != (listed["bytes"], listed["sha256"]):
                raise StoreDamaged(f"{backup} is damaged: {name} is not as it was written; take another backup")
    return told


def _is_plain(entry: tarfile.TarInfo, size: int) -> bool:
    """Whether an entry is a file of that size: no link, and without holes, which a few bytes can make as large as a disk."""
    return entry.isreg() and not entry.issparse() and entry.size == size


def _list(tar: tarfile.TarFile) -> dict[str, Any]:
    """Read and check a backup's list.

    :raises StoreDamaged: it is not one.
    :raises StoreVersionError: a newer espeer made it.
    """
    try:
        first = tar.next()
        content = tar.extractfile(first) if first and first.name == _LIST and _is_plain(first, first.size) else None
        told: Any = json.loads(content.read(_MAX_LIST)) if content else None
    except (ValueError, RecursionError):
        told = None
    match told:
        case {"format": int(format_), "schema": int(schema)} if format_ > _FORMAT or schema > len(MIGRATIONS):
            raise StoreVersionError(f"{tar.name!s} was made by a newer espeer; upgrade espeer")
        case {"format": 1, "created": int(created), "files": dict(files)} if {_STORE, _IDENTITY} <= files.keys() <= {
            _STORE,
            *_SMALL,
        } and (0 <= created < _MAX_CREATED):
            for name, listed in files.items():
                match listed:
                    case {"bytes": int(size), "sha256": str()} if size <= _MAX_SMALL or name == _STORE:
                        pass
                    case _:
                        break
            else:
                return {**told}
    raise StoreDamaged(f"{tar.name!s} is not a backup that `espeer backup` made")


def _save(content: IO[bytes], path: Path) -> tuple[int, str]:
    """Write a file, mode 0600; return its size and digest."""
    digest, size = hashlib.sha256(), 0
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        while block := content.read(_BLOCK):
            file.write(block)
            digest.update(block)
            size += len(block)
        file.flush()
        os.fsync(file.fileno())
    return size, digest.hexdigest()


def _check_store(path: Path) -> int:
    """See that a database is whole; return how many records it has."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as db:
            ours = db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
            if ours and not _programs(db) <= _our_programs():
                raise StoreDamaged("the database in the backup holds what espeer did not put there; take another backup")
            if not ours or db.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
                raise StoreDamaged("the database in the backup is damaged; take another backup")
            return int(db.execute("SELECT count(*) FROM records").fetchone()[0])
    except sqlite3.Error as error:
        raise StoreDamaged(f"the database in the backup is damaged ({error}); take another backup") from error


def _programs(db: sqlite3.Connection) -> set[tuple[str, str]]:
    """What in a database is done by itself: triggers, views and virtual tables, with their text."""
    return set(
        db.execute(
            "SELECT name, sql FROM sqlite_master WHERE type IN ('trigger', 'view') OR type = 'table' AND rootpage = 0"
        ).fetchall()
    )


def _our_programs() -> set[tuple[str, str]]:
    with closing(sqlite3.connect(":memory:")) as db:
        for step in MIGRATIONS:
            step(db)
        return _programs(db)
