"""Files in the data folder that are their user's alone: keys, tickets, whom the node met."""

import os
import tempfile
from pathlib import Path
from typing import Final

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
