"""What a node's store holds, read beside the node: SQLite lets readers in while it writes."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from espeer.errors import StoreError
from espeer.folder import store_path
from espeer.replica import REFINED
from espeer.sim.measure import Row

_BUSY_SECONDS: Final = 10.0


def rows(data: Path) -> list[Row]:
    """Return the records of the store in a data folder, but for its own condensates, which stay where they are.

    :raises StoreError: it cannot be read.
    """
    query = "SELECT id, created, received, via, length(data) FROM records WHERE via != ?"
    return [Row(*row) for row in _read(data, query, REFINED)]


def count(data: Path) -> int:
    """Return how many records :func:`rows` would return."""
    number: int = _read(data, "SELECT count(*) FROM records WHERE via != ?", REFINED)[0][0]
    return number


def _read(data: Path, query: str, *values: object) -> list[Any]:
    path = store_path(data)
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)) as db:
            return db.execute(query, values).fetchall()
    except sqlite3.Error as error:
        raise StoreError(f"cannot read {path}: {error}") from error
