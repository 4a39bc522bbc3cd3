"""The data folder: one process, one user."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from espeer.errors import ConfigError, StoreInUse
from espeer.folder import claimed, private_folder, socket_path

HOLDER = """
import sys
from pathlib import Path
from espeer.folder import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time_and_the_error_names_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "d")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreInUse, match=f"in use by process {holder.pid}"), claimed(tmp_path / "d"):
            pass
        holder.kill()
    with claimed(tmp_path / "d"):  # the kernel let go
        pass


def test_nobody_else_can_enter(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    private_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    with pytest.raises(ConfigError, match=f"others can enter {folder}; run: chmod 700"):
        private_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755  # it may be theirs for a reason


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"^cannot use the folder [^\n]*--data$"):
        private_folder(tmp_path / "file" / "folder")


def test_long_paths_get_a_socket_that_fits(tmp_path: Path) -> None:
    assert socket_path(tmp_path) == tmp_path / "control.sock"
    long = tmp_path / ("x" * 120)
    assert len(os.fsencode(socket_path(long))) <= 100
    assert socket_path(long) != socket_path(tmp_path / ("y" * 120))
