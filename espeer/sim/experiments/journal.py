"""The work of an experiment that is done, kept on disk: one that was stopped goes on where it was.

SQLite, a row for each piece of work. A journal belongs to one experiment with one model and one set of prompts.
"""

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any, Final, Self

from espeer.errors import InputError

_APPLICATION_ID: Final = 0x65737078  # "espx"


class Journal(AbstractContextManager["Journal"]):
    """What was worked out, by its key.

    :param path: the file; made if it is not there.
    :param about: what the work depends on: model, prompts, data, settings. JSON values.
    :raises InputError: the file is of something else.
    :ivar path: the file.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        text = json.dumps(about, sort_keys=True, ensure_ascii=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path: Final = path
        self._db = sqlite3.connect(path, isolation_level=None)
        try:
            self._prepare(path, text)
        except BaseException:
            self._db.close()
            raise

    def _prepare(self, path: Path, about: str) -> None:
        try:
            found = self._db.execute("PRAGMA application_id").fetchone()[0]
            tables = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise InputError(f"{path} is not the journal of an experiment; choose another --out") from error
        if tables and found != _APPLICATION_ID:
            raise InputError(f"{path} is not the journal of an experiment; choose another --out")
        self._db.execute("PRAGMA journal_mode = WAL")
        with self._db:
            self._db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            self._db.execute("CREATE TABLE IF NOT EXISTS about (text TEXT NOT NULL)")
            self._db.execute("CREATE TABLE IF NOT EXISTS done (key TEXT PRIMARY KEY, result TEXT NOT NULL) WITHOUT ROWID")
        row = self._db.execute("SELECT text FROM about").fetchone()
        if row is None:
            self._db.execute("INSERT INTO about VALUES (?)", (about,))
        elif row[0] != about:
            raise InputError(f"{path} holds work of another model, data or settings; choose another --out, or remove it")

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def __enter__(self) -> Self:
        """Use the journal in the block."""
        return self

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __contains__(self, key: str) -> bool:
        """Whether a piece of work is done."""
        return self._db.execute("SELECT 1 FROM done WHERE key = ?", (key,)).fetchone() is not None

    def get(self, key: str) -> Any:
        """Return what came of a piece of work, or None."""
        row = self._db.execute("SELECT result FROM done WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, key: str, result: Any) -> None:
        """Keep what came of a piece of work; it is on disk when this returns."""
        text = json.dumps(result, ensure_ascii=False)
        with closing(self._db.execute("INSERT OR REPLACE INTO done VALUES (?, ?)", (key, text))):
            pass


def digest(value: Any) -> str:
    """Return a short name of a JSON value, for a key."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]
