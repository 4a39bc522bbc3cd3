"""The whole demo, with real processes and real gossip; the model is the fake one, so that it takes seconds."""

import json
import subprocess
import sys

import pytest


@pytest.mark.e2e
def test_the_third_device_answers_with_what_the_others_learnt() -> None:
    command = [sys.executable, "-m", "espeer", "demo", "--json", "--model", "fake", "--incidents", "4"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    summary = json.loads(run.stdout.splitlines()[-1])
    assert summary["nodes"] == 3
    assert summary["accuracy_after"] > summary["accuracy_before"]
    assert summary["ttft_p50_ms"] > 0
    assert [group["questions"] for group in summary["groups"]] == [4, 4, 4]
    assert "because A had learnt" in run.stderr or "because B had learnt" in run.stderr
