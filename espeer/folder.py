"""The data folder: who may use it, and what lies where."""

import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from espeer.errors import ConfigError, StoreFull, StoreInUse

_MAX_SOCKET_PATH: Final = 100  # Linux takes 107 bytes, macOS 103


def store_path(data: Path) -> Path:
    """Return where the database lies."""
    return data / "espeer.db"


def index_path(data: Path) -> Path:
    """Return where the index's snapshot lies."""
    return data / "espeer.index"


def identity_path(data: Path) -> Path:
    """Return where the node's private key lies."""
    return data / "identity.key"


def states_path(data: Path) -> Path:
    """Return the folder of what the model keeps of prompts. It can be deleted at any time."""
    return data / "kv"


def membership_path(data: Path) -> Path:
    """Return where it stands which network the folder belongs to."""
    return data / "membership"


def peers_path(data: Path) -> Path:
    """Return where the peers that the node met are remembered."""
    return data / "peers"


def socket_path(data: Path) -> Path:
    """Return the control socket's path: in the data folder, or in a private temporary one where that path is too long."""
    path = data.absolute() / "control.sock"
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"espeer-{os.getuid()}" / f"{digest}.sock"


def private_folder(path: Path) -> None:
    """Make a folder that only its user can enter, or see that it is one.

    :raises ConfigError: it cannot be made, belongs to somebody else, or others can enter it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
        if found.st_uid != os.getuid():
            raise ConfigError(f"{path} belongs to another user; choose another folder with --data")
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise ConfigError(f"others can enter {path}; run: chmod 700 {path}, or choose another folder with --data")
    except OSError as error:
        raise ConfigError(f"cannot use the folder {path}: {error.strerror}; choose another with --data") from error


def _sign(lock: int, data: Path) -> None:
    try:
        os.truncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
    except OSError as error:
        raise StoreFull(f"cannot write to {data}: {error.strerror}; free some disk space and try again") from error


@contextmanager
def claimed(data: Path) -> Iterator[None]:
    """Hold the data folder: one process at a time. The kernel lets go when the process ends, however it ends.

    :raises StoreInUse: another process holds it.
    :raises StoreFull: no room left on its disk.
    :raises ConfigError: it cannot be made or used.
    """
    private_folder(data)
    try:
        lock = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"cannot use the folder {data}: {error.strerror}; choose another with --data") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise StoreInUse(f"{data} is in use by process {holder}; stop that node or choose another --data") from error
        _sign(lock, data)
        yield
    finally:
        os.close(lock)
