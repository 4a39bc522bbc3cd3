"""The index on disk: so that a node with many experiences is there at once.

SQLite is the truth and this is a copy of what follows from it: a snapshot that is damaged, or was made with other settings, is
thrown away. One that is older than the store is brought up to date by what differs (see :mod:`espeer.replica`).

The file: a line that names the format, the SHA-256 of all that follows, and a msgpack map of strings and arrays.
"""

import hashlib
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgpack
import numpy as np

from espeer.bm25 import BM25Index
from espeer.log import get_logger
from espeer.postings import Dump

_FORMAT: Final = b"espeer index 1\n"
_DIGEST: Final = 32
_FAULTS: Final = (ValueError, KeyError, TypeError, AttributeError, msgpack.UnpackException)

log = get_logger(__name__)


def save(path: Path, index: BM25Index, *, settings: str) -> None:
    """Write a snapshot; whoever is interrupted leaves the old one.

    :param settings: what the terms and scores depend on.
    :raises OSError: no room, most likely.
    """
    dump = index.dump()
    body = msgpack.packb(
        {
            "settings": settings,
            "strings": {name: _packed(strings) for name, strings in dump.strings.items()},
            "arrays": {name: (array.dtype.str, array.tobytes()) for name, array in dump.arrays.items()},
        }
    )
    unfinished = path.with_suffix(".new")
    try:
        unfinished.touch(0o600)
        unfinished.write_bytes(_FORMAT + hashlib.sha256(body).digest() + body)
        unfinished.replace(path)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        raise


def load(path: Path, index: BM25Index, *, settings: str) -> bool:
    """Fill an empty index with a snapshot; return whether there was one that fits. What does not is removed."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return False
    except OSError as error:
        log.warning("cannot read the index's snapshot", reason=str(error))
        return False
    dump = _dump(data, settings)
    if dump is None:
        log.info("threw away a snapshot of the index that does not fit", bytes=len(data))
        with suppress(OSError):
            path.unlink()
        return False
    index.load(dump)
    return True


def _dump(data: bytes, settings: str) -> Dump | None:
    head, body = data[: len(_FORMAT) + _DIGEST], memoryview(data)[len(_FORMAT) + _DIGEST :]
    if head != _FORMAT + hashlib.sha256(body).digest():
        return None
    try:
        fields: dict[str, Any] = msgpack.unpackb(body, max_bin_len=len(body), max_str_len=len(body))
        if fields["settings"] != settings:
            return None
        return Dump(
            strings={name: _unpacked(packed) for name, packed in fields["strings"].items()},
            arrays={name: np.frombuffer(raw, np.dtype(kind)) for name, (kind, raw) in fields["arrays"].items()},
        )
    except _FAULTS:
        return None


def _packed(strings: list[str]) -> tuple[str, bytes]:
    """Pack strings into one, with their lengths (uint32): a list of many small ones would be slow to read."""
    return "".join(strings), np.array([len(string) for string in strings], np.uint32).tobytes()


def _unpacked(packed: tuple[str, bytes]) -> list[str]:
    joined, lengths = packed
    at = [0, *np.cumsum(np.frombuffer(lengths, np.uint32), dtype=np.int64).tolist()]
    return [joined[start:end] for start, end in pairwise(at)]
