"""KV states on disk: those that memory has no room for, and those of the last run.

What was learnt can be inferred from them: the folder and its files are their user's alone. llama.cpp ends the process on some
states that are damaged, so a file is used only if every byte of it is as it was written for this very key, and is removed
otherwise. All of it can be worked out again: files are not forced onto the disk, and one that a power cut tears is found out.

A file: the format's line, the key (msgpack, after its length), the state's length, the SHA-256 of all of this and the state,
and the state. Its name is made of the SHA-256 of what the note is from and that of the key, half of each: so states of other
models lie beside these until they are the oldest, and those of an experience that is gone are found.
"""

import hashlib
import os
import re
import struct
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgpack

from espeer import ownfile
from espeer.errors import ConfigError
from espeer.folder import private_folder
from espeer.llm.model import source_of
from espeer.llm.states import StateKey
from espeer.log import get_logger

_FORMAT: Final = b"espeer state 1\n"
_DIGEST: Final = 32
_HALF: Final = 32  # of a digest, hexadecimal
_NAME: Final = re.compile(r"[0-9a-f]{64}\.state")
_UNFINISHED: Final = re.compile(r"\.[0-9a-f]{64}\.state\..+")  # as espeer.ownfile names them

log = get_logger(__name__)


class Spill:
    """States in a folder; what was not used for longest goes first, also over restarts. For one thread at a time.

    It never fails: where the folder cannot be used, or not any more, it says so once in the log, and holds nothing from then
    on.

    :param folder: is made if it is missing. No other process may use it.
    :param limit_bytes: the most bytes of all files together. Files of other names are not touched.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder: Final = folder
        self._limit: Final = limit_bytes
        self._sizes: Final[OrderedDict[str, int]] = OrderedDict()  # of files, by name, in the order of their last use
        self._bytes = self._damaged = 0
        self._off = False
        try:
            private_folder(folder)
            self._look_around()
            self._make_room(0)
        except (ConfigError, OSError) as error:
            self._turn_off(error)

    def __contains__(self, key: StateKey) -> bool:
        """Whether there is a file for it, sound or not. It does not count as used."""
        return _name(key) in self._sizes

    def get(self, key: StateKey) -> bytes | None:
        """The state, which counts as used now; None if there is none, or none that is sound."""
        packed, name = _packed(key), _name(key)
        if name not in self._sizes:
            return None
        try:
            value = _read(self._folder / name, packed, self._sizes[name])
            if value is None:
                self._damaged += 1
                log.info("threw away a state on disk that is damaged", file=name)
                self._remove(name)
                return None
        except FileNotFoundError:
            self._forget(name)
            return None
        except OSError as error:
            self._turn_off(error)
            return None
        self._sizes.move_to_end(name)
        with suppress(OSError):  # then it only seems older after a restart
            os.utime(self._folder / name)
        return value

    def put(self, key: StateKey, value: bytes) -> bool:
        """Write a state, which counts as used now; return whether that was done. One that is over the limit is not kept."""
        packed, name = _packed(key), _name(key)
        head = _head(packed, len(value))
        size = len(head) + _DIGEST + len(value)
        if self._off or size > self._limit:
            return False
        try:
            if name in self._sizes:  # a rename over it would have ext4 write the new one out at once
                self._remove(name)
            self._make_room(size)
            ownfile.replace(self._folder / name, b"".join((head, _digest(head, value), value)), durable=False)
        except OSError as error:
            self._turn_off(error)
            return False
        self._sizes[name] = size
        self._bytes += size
        return True

    def keep_only(self, sources: Iterable[str]) -> None:
        """Remove the states of all notes that are not from one of these; see :attr:`espeer.llm.model.Note.id`."""
        kept = {_source(""), *map(_source, sources)}
        self._remove_all([name for name in self._sizes if name[:_HALF] not in kept])

    def forget(self, sources: Iterable[str]) -> None:
        """Remove the states of all notes that are from one of these."""
        forgotten = set(map(_source, sources))
        self._remove_all([name for name in self._sizes if name[:_HALF] in forgotten])

    def statistics(self) -> dict[str, int]:
        """What it holds, and how many files were damaged."""
        return {"entries": len(self._sizes), "bytes": self._bytes, "damaged": self._damaged}

    def _look_around(self) -> None:
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if not entry.is_file(follow_symlinks=False):
                    continue
                if _UNFINISHED.fullmatch(entry.name):  # of a process that was killed
                    Path(entry).unlink()
                elif _NAME.fullmatch(entry.name):
                    status = entry.stat(follow_symlinks=False)
                    found.append((status.st_mtime_ns, entry.name, status.st_size))
        for _, name, size in sorted(found):
            self._sizes[name] = size
            self._bytes += size

    def _make_room(self, size: int) -> None:
        while self._sizes and self._bytes + size > self._limit:
            self._remove(next(iter(self._sizes)))

    def _remove_all(self, names: Iterable[str]) -> None:
        try:
            for name in names:
                self._remove(name)
        except OSError as error:
            self._turn_off(error)

    def _remove(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)
        self._forget(name)

    def _forget(self, name: str) -> None:
        self._bytes -= self._sizes.pop(name)

    def _turn_off(self, error: Exception) -> None:
        self._off = True
        self._sizes.clear()
        self._bytes = 0
        log.warning("keeps no states on disk any more", reason=str(error), folder=str(self._folder))


def _packed(key: StateKey) -> bytes:
    packed: bytes = msgpack.packb((key.model, key.prefix, key.note, key.slot))
    return packed


def _name(key: StateKey) -> str:
    return f"{_source(key.note)}{hashlib.sha256(_packed(key)).hexdigest()[:_HALF]}.state"


def _source(note: str) -> str:
    return hashlib.sha256(source_of(note).encode()).hexdigest()[:_HALF]


def _head(packed: bytes, size: int) -> bytes:
    return b"".join((_FORMAT, struct.pack("<I", len(packed)), packed, struct.pack("<Q", size)))


def _digest(head: bytes, value: bytes) -> bytes:
    digest = hashlib.sha256(head)
    digest.update(value)
    return digest.digest()


def _read(path: Path, packed: bytes, size: int) -> bytes | None:
    """The state in a file of that size, if it is just as it was written for that key.

    Nothing in the file is trusted: what must stand before the state follows from the key and the size.

    :raises OSError: it cannot be read.
    """
    length = size - len(_head(packed, 0)) - _DIGEST
    if length < 0:
        return None
    head = _head(packed, length)
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size != size or file.read(len(head)) != head:
            return None
        digest, value = file.read(_DIGEST), file.read(length)
    return value if _digest(head, value) == digest else None
