"""The service: what the unit says holds, and the node tells its manager what it should."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from espeer.cli import supervised

OPS = Path(__file__).parents[2] / "ops"
ANALYZE = shutil.which("systemd-analyze")


def unit(folder: Path) -> Path:
    """Make the unit one that this machine can check: with a program and a user that it has."""
    text = (OPS / "espeer.service").read_text()
    path = folder / "espeer.service"
    path.write_text(
        text.replace("/opt/espeer/bin/espeer", sys.executable).replace("=espeer\nGroup=espeer", "=daemon\nGroup=daemon")
    )
    return path


@pytest.mark.skipif(ANALYZE is None, reason="no systemd-analyze here")
def test_the_unit_is_sound_and_exposes_little(tmp_path: Path) -> None:
    path = unit(tmp_path)
    verified = subprocess.run([str(ANALYZE), "verify", "--man=no", path], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    command = [str(ANALYZE), "security", "--offline=true", "--threshold=15", path]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout  # at most 1.5 of 10


@pytest.mark.skipif(ANALYZE is None, reason="no systemd-analyze here")
def test_the_check_would_find_an_error(tmp_path: Path) -> None:
    path = unit(tmp_path)
    path.write_text(path.read_text().replace("ProtectSystem=strict", "ProtectSystem=strictly\nNoNewPrivilege=yes"))
    verified = subprocess.run([str(ANALYZE), "verify", "--man=no", path], capture_output=True, text=True, check=False)
    assert "strictly" in verified.stderr


def test_the_image_runs_as_nobody_special_and_copies_what_it_builds() -> None:
    text = (OPS / "Containerfile").read_text()
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert "HEALTHCHECK" in text
    root = OPS.parent
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        assert all((root / name).exists() for name in line.split()[:-1]), line
    ignored = (root / ".containerignore").read_text().splitlines()
    for name in ("constraints.txt", "pyproject.toml", "README.md", "LICENSE", "espeer"):
        assert f"!{name}" in ignored


@pytest.fixture(params=["path", "abstract"])
def manager(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Listen as a service manager does."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@espeer-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0"))
        listening.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield listening


@pytest.mark.e2e
def test_a_node_tells_that_it_is_up_that_it_lives_and_that_it_stops(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    command = [sys.executable, "-m", "espeer", "node", "--model", "fake", "--http", "off", "--data", str(tmp_path / "d")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as node:
        try:
            assert manager.recv(100) == b"READY=1"
            assert (tmp_path / "d" / "control.sock").exists()
            for _ in range(3):
                assert manager.recv(100) == b"WATCHDOG=1"
            node.send_signal(signal.SIGTERM)
            said = b"WATCHDOG=1"
            while said == b"WATCHDOG=1":
                said = manager.recv(100)
            assert said == b"STOPPING=1"
            assert node.wait(20) == 0
        finally:
            node.kill()


async def test_who_was_not_asked_to_tells_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    supervised.tell(supervised.READY)
    for microseconds, whose in (("", ""), ("0", ""), ("soon", ""), ("200000", "1")):  # the last is for another process
        monkeypatch.setenv("WATCHDOG_USEC", microseconds)
        monkeypatch.setenv("WATCHDOG_PID", whose)
        await supervised.stay_alive()


def test_a_manager_that_is_gone_does_no_harm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    supervised.tell(supervised.READY)
