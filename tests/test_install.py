"""The installer names what is missing in one line, with the command that brings it."""

import subprocess
import sys
from pathlib import Path

import pytest

INSTALL = Path(__file__).parent.parent / "scripts" / "install.py"


def install(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(INSTALL)], env={"PATH": str(path)}, capture_output=True, text=True, timeout=60, check=False
    )


def put(path: Path, name: str, script: str) -> None:
    file = path / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.mark.parametrize(
    ("there", "missing", "command"),
    [
        (["apt-get"], "gcc, g++, make", "sudo apt-get install -y gcc g++ make"),
        (["gcc", "dnf"], "g++, make, gmp.h", "sudo dnf install -y gcc-c++ make gmp-devel"),
        ([], "gcc, g++, make", "your system's package manager"),
    ],
)
def test_what_is_missing_is_one_line(tmp_path: Path, there: list[str], missing: str, command: str) -> None:
    for tool in there:
        put(tmp_path, tool, "exit 1")  # a gcc that finds no header
    run = install(tmp_path)
    assert run.returncode == 1
    assert run.stderr == f"install: missing: {missing}; install with: {command}\n"
    assert run.stdout == ""
