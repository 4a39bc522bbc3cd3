"""The data folder, the identity and the store. All is opened for reading only."""

import fcntl
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from espeer.doctor.finding import Finding, Situation
from espeer.errors import ConfigError
from espeer.folder import identity_path, store_path
from espeer.p2p.identity import load_existing
from espeer.schema import MIGRATIONS
from espeer.store import APPLICATION_ID

_LITTLE: Final = 1024**3
_TOO_LITTLE: Final = 64 * 1024**2
_CHECK_SECONDS: Final = 1.0
_STEPS: Final = 10_000  # of SQLite's machine, between two looks at the clock


def folder(given: Situation) -> Iterator[Finding]:
    """Whether the data folder is its user's alone, can be written, and has room; who holds it."""
    data = given.config.data
    try:
        found = data.stat()
    except FileNotFoundError:
        above = next(path for path in data.absolute().parents if path.exists())
        if above.is_dir() and os.access(above, os.W_OK | os.X_OK):
            yield Finding("data folder", "ok", f"{data} is not there yet; `espeer node` makes it")
            yield _room(above)
        else:
            yield Finding("data folder", "fail", f"{data} cannot be made in {above}", "give --data another folder")
        return
    except OSError as error:
        yield Finding("data folder", "fail", f"cannot look at {data}: {error.strerror}", "give --data another folder")
        return
    if not stat.S_ISDIR(found.st_mode):
        yield Finding("data folder", "fail", f"{data} is not a folder", "give --data another name")
        return
    if found.st_uid != os.getuid():
        yield Finding(
            "data folder", "fail", f"{data} belongs to another user", "run espeer as that user, or give --data another"
        )
    elif stat.S_IMODE(found.st_mode) & 0o077:
        yield Finding("data folder", "fail", f"others can enter {data}", f"chmod 700 {data}")
    elif not os.access(data, os.R_OK | os.W_OK | os.X_OK):
        yield Finding("data folder", "fail", f"{data} cannot be written", f"chmod 700 {data}")
    else:
        yield Finding("data folder", "ok", f"{data} is this user's alone")
    yield _room(data)
    yield from _holder(given)


def identity(given: Situation) -> Iterator[Finding]:
    """Whether the node's private key can be read."""
    path = identity_path(given.config.data)
    if not path.exists():
        yield Finding("identity", "ok", "none yet; the first start makes one")
        return
    try:
        found = load_existing(path)
    except ConfigError as error:
        yield Finding("identity", "fail", str(error), f"see {path}; `espeer restore` brings a backup's")
    else:
        yield Finding("identity", "ok", found.peer_id)


def store(given: Situation) -> Iterator[Finding]:
    """Whether the database opens, is of a schema that is known, and is sound."""
    path = store_path(given.config.data)
    if not path.exists():
        yield Finding("store", "ok", "none yet; the first start makes one")
        return
    try:
        with closing(opened(path)) as db:
            yield from _looked_into(db, path)
    except sqlite3.Error as error:
        yield Finding("store", "fail", f"{path} cannot be read: {error}", "restore a backup (`espeer restore`)")


def opened(path: Path) -> sqlite3.Connection:
    """Open a store for reading.

    Where there is no write-ahead log nobody writes, and SQLite is told that the file does not change: else it would make a log.
    """
    log = path.with_name(f"{path.name}-wal")
    how = "mode=ro" if log.exists() else "immutable=1"
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?{how}", uri=True, timeout=1, isolation_level=None)


def _room(data: Path) -> Finding:
    free = shutil.disk_usage(data).free
    said = f"{free / 1e9:.1f} GB free on the disk of {data}"
    if free < _TOO_LITTLE:
        return Finding("disk", "fail", said, "make room: nothing more can be learnt")
    if free < _LITTLE:
        return Finding("disk", "warn", said, "make room, or set --max-bytes and --kv-disk-mb lower")
    return Finding("disk", "ok", said)


def _holder(given: Situation) -> Iterator[Finding]:
    """Whose the folder is at the moment. The lock is tried for as long as that takes: shared, and let go at once."""
    if given.status:
        yield Finding("in use", "ok", f"its node runs: {given.status['peer_id']}")
        return
    try:
        with (given.config.data / "lock").open("rb") as lock:
            holder = lock.read(20).decode("ascii", "replace").strip() or "unknown"
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                advice = "it may be starting; if it stays so, stop it and see its log"
                yield Finding("in use", "warn", f"process {holder} holds the folder, and does not answer", advice)
                return
    except OSError:
        pass  # no lock: nobody was ever here, or what is wrong was told already
    yield Finding("in use", "ok", "no node runs on it")


def _looked_into(db: sqlite3.Connection, path: Path) -> Iterator[Finding]:
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        yield Finding("store", "fail", f"{path} is not an espeer store", "give --data another folder")
        return
    schema = db.execute("SELECT coalesce(max(number), 0) FROM _migrations").fetchone()[0]
    if schema > len(MIGRATIONS):
        said = f"{path} is of schema {schema}, this espeer knows {len(MIGRATIONS)}"
        yield Finding("store", "fail", said, "upgrade espeer")
        return
    older = f", schema {schema}: the next start brings it to {len(MIGRATIONS)}" if schema < len(MIGRATIONS) else ""
    records = db.execute("SELECT count(*) FROM records").fetchone()[0]
    yield Finding("store", "ok", f"{records:,} records, {path.stat().st_size / 1e6:.1f} MB{older}")
    until = time.monotonic() + _CHECK_SECONDS
    db.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
    try:
        wrong = [row[0] for row in db.execute("PRAGMA quick_check(1)")]
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            raise
        yield Finding("integrity", "ok", f"nothing wrong in what could be checked in {_CHECK_SECONDS:g} s")
        return
    if wrong == ["ok"]:
        yield Finding("integrity", "ok", "the database is sound")
    else:
        yield Finding("integrity", "fail", f"the database is damaged: {wrong[0]}", "restore a backup (`espeer restore`)")
