"""Work that is done stays done."""

import sqlite3
from pathlib import Path

import pytest

from espeer.errors import InputError
from espeer.sim.experiments.journal import Journal


def test_work_is_there_after_a_stop(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "work.db"
    with Journal(path, {"model": "a"}) as journal:
        journal.put("one", {"text": "ü", "n": [1, 2]})
        assert journal.get("two") is None
    with Journal(path, {"model": "a"}) as journal:
        assert journal.get("one") == {"text": "ü", "n": [1, 2]}
        assert "one" in journal
        assert "two" not in journal


def test_work_of_something_else_is_not_gone_on_with(tmp_path: Path) -> None:
    Journal(tmp_path / "work.db", {"model": "a"}).close()
    with pytest.raises(InputError, match="another model"):
        Journal(tmp_path / "work.db", {"model": "b"})


def test_other_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, but long enough to be taken for one" * 100)
    with sqlite3.connect(tmp_path / "other.db") as db:
        db.execute("CREATE TABLE t (a)")
    for name in ("text", "other.db"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(InputError, match="not the journal of an experiment"):
            Journal(tmp_path / name, {})
        assert (tmp_path / name).read_bytes() == before
