"""The example app, as a device would run it, with the fake model."""

import subprocess
import sys
from pathlib import Path

import pytest

APP = Path(__file__).parent.parent / "examples" / "edge_app.py"


@pytest.mark.e2e
def test_the_edge_app_answers_with_what_it_learnt(tmp_path: Path) -> None:
    command = [sys.executable, str(APP), "--data", str(tmp_path / "device"), "--model", "fake"]
    for _ in range(2):  # the second time on the folder of the first
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert run.returncode == 0, run.stderr
        assert "from: Press 7 stops with E42 when the oil is cold. Purging the line for 40 seconds cured it." in run.stdout
        assert "clamp delay: 300 ms" in run.stdout


@pytest.mark.e2e
def test_what_is_wrong_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, str(APP), "--data", str(tmp_path / "device"), "--model", str(tmp_path / "none.gguf")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith("edge_app: there is no model file")
    assert run.stderr.count("\n") == 1
