import os
from pathlib import Path

import pytest

from espeer import ownfile
from espeer.errors import ConfigError


@pytest.mark.parametrize("durable", [True, False])
def test_what_was_written_is_read_and_nobody_else_can(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "key"
    for data in (b"first", b"second"):
        ownfile.replace(path, data, durable=durable)
        assert ownfile.read(path, 100) == data
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_of_a_long_file_no_more_is_read_than_shows_that_it_is_too_long(tmp_path: Path) -> None:
    ownfile.replace(tmp_path / "key", bytes(1000), durable=False)
    assert ownfile.read(tmp_path / "key", 10) == bytes(11)


def test_what_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").touch(0o640)
    with pytest.raises(ConfigError, match=r"can be read by others; run: chmod 600 .*key"):
        ownfile.read(tmp_path / "key", 10)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    ownfile.replace(path, b"old", durable=True)

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        ownfile.replace(path, b"new", durable=True)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
