"""Files in the data folder that are their user's alone: keys, tickets, whom the node met."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from espeer.errors import ConfigError

_OTHERS: Final = 0o077


def read(path: Path, most: int) -> bytes:
    """Return what a file holds; of one that is longer, ``most`` bytes and one more.

    :raises ConfigError: others can read it.
    :raises OSError: it cannot be read.
    """
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        data = file.read(most + 1)
    if mode & _OTHERS:
        raise ConfigError(f"{path} can be read by others; run: chmod 600 {path}")
    return data


@contextmanager
def new(path: Path) -> Iterator[IO[bytes]]:
    """Make a file: what the block writes is there under its name when the block is done and the disk has it, or not at all.

    :raises FileExistsError: there is one already; it stays as it is.
    :raises OSError: it cannot be written.
    """
    if path.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:64]}.", dir=path.parent)  # mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(temporary)
    finally:
        temporary.unlink()
    keep_names(path.parent)


def keep_names(folder: Path) -> None:
    """Wait until the disk has what was named or renamed in a folder."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def replace(path: Path, data: bytes, *, durable: bool) -> None:
    """Make or replace a file in one step, so that a power cut leaves the old one or the new one.

    :param durable: wait until the disk has the new one.
    :raises OSError: it cannot be written.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
