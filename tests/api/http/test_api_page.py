"""docs/api.md: its commands work as they stand, and answer in the form that it shows."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sites import at_work

import espeer

PAGE = Path(espeer.__file__).parents[1] / "docs" / "api.md"
EXAMPLE = re.compile(r"^```sh\n(.*?)^```\n(?:\n```json\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
USUAL = "http://127.0.0.1:7741"

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")]


def shape(value: Any) -> Any:
    """What is in it, whatever it says."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [] if isinstance(value, list) else type(None) if value is None else type(value)


def test_the_commands_of_the_page(tmp_path: Path) -> None:
    examples = EXAMPLE.findall(PAGE.read_text())
    assert len(examples) >= 6
    with at_work(tmp_path, "--type", "pumps") as (_, url):
        for commands, shown in examples:
            run = commands.replace(USUAL, url).replace("curl ", "curl --silent --show-error --max-time 60 ")
            done = subprocess.run(["sh", "-e", "-c", run], cwd=tmp_path, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, ""), commands
            assert ('{"error"' in done.stdout) == ('{"error"' in shown), (commands, done.stdout)
            if shown:
                assert shape(json.loads(done.stdout)) == shape(json.loads(shown)), commands
    assert (tmp_path / "records.jsonl").read_text().count("\n") == 2, "the report, and the feedback"
