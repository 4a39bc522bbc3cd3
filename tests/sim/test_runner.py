"""Scenarios on real processes, as small as can be."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

TINY = """
name = "tiny"
about = "Two nodes, five records."
seed = 3

[nodes]
count = 2
rest = 0

[[steps]]
do = "learn"
seconds = 1
per_second = 5

[expect]
records = 5
delivery = "== 1"
missed = 0
unequal = 0
processes_died = 0
latency_max_s = "< 30"
"""


def command(path: Path) -> list[str]:
    return [sys.executable, "-m", "espeer", "sim", "run", str(path), "--json"]


def heed_interrupts() -> None:
    """Have interrupts end the command also where whoever runs the tests has them ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def node_pids(tmp_path: Path) -> list[int]:
    """The processes that hold data folders."""
    locks = [lock.read_text() for lock in tmp_path.glob("espeer-sim-tiny-*/n*/lock")]
    return [int(pid) for pid in locks if pid]


def run(tmp_path: Path, scenario: str) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "scenario.toml"
    path.write_text(scenario)
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    return subprocess.run(command(path), capture_output=True, text=True, timeout=120, check=False, env=environment)


def test_a_scenario_that_shows_what_it_expects_leaves_nothing_behind(tmp_path: Path) -> None:
    done = run(tmp_path, TINY)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["name"], said["seed"], said["passed"], said["missed"], said["records"]) == ("tiny", 3, True, 0, 5)
    assert 0 < said["latency_p50_s"] <= said["latency_p99_s"]
    assert said["by_gossip"] + said["by_sync"] == 5
    assert "duplicates" in said
    assert not list(tmp_path.glob("espeer-sim-*"))


def test_a_scenario_that_does_not_keeps_the_logs_and_says_where(tmp_path: Path) -> None:
    done = run(tmp_path, TINY.replace("records = 5", "records = 6"))
    assert done.returncode == 1
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["passed"], said["failed"]) == (False, ["records"])
    (folder,) = tmp_path.glob("espeer-sim-tiny-*")
    assert done.stderr.splitlines()[-1] == f"espeer: tiny: not as expected: records (logs: {folder})"
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == ["n1/log", "n2/log"]


def test_a_node_that_cannot_start_is_told_in_one_line(tmp_path: Path) -> None:
    done = run(tmp_path, TINY.replace("rest = 0", 'rest = 0\noptions = ["--recall", "-1"]'))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "node n1 is not up" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_processes(tmp_path: Path, how: signal.Signals) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(TINY.replace("seconds = 1", "seconds = 600"))
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    started = subprocess.Popen(
        command(path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        preexec_fn=heed_interrupts,  # noqa: PLW1509 - no other thread here
    )
    deadline = time.monotonic() + 60
    while len(pids := node_pids(tmp_path)) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(pids) == 2
    started.send_signal(how)
    assert started.wait(30) == 130
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not list(tmp_path.glob("espeer-sim-*"))
