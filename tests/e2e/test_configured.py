"""A node that is set up by a file and variables, as a service is."""

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest
from processes import ESPEER, NodeProcess, eventually

pytestmark = pytest.mark.e2e

KEY = "correct-horse-battery"


def test_a_home_of_its_own(tmp_path: Path) -> None:
    """Settings in one folder with the data, a secret among them; every verb finds the node there, and the doctor is content."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    file = home / "config.toml"
    file.touch(0o600)
    file.write_text(f'types = ["pumps"]\nmodel = "fake"\nhttp = "127.0.0.1:0"\nhttp_key = "{KEY}"\nlog_level = "warning"\n')
    env = os.environ | {"ESPEER_HOME": str(home), "ESPEER_TYPES": "valves,pumps"}
    del env["ESPEER_CONFIG"]

    def said(*words: str) -> str:
        done = subprocess.run([*ESPEER, *words], env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done
        return done.stdout

    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([*ESPEER, "node", "--json"], env=env, stdout=out, stderr=out)
    node = NodeProcess(home, log, process)
    try:
        status = node.up()
        assert status["types"] == ["valves", "pumps"]
        up = json.loads(eventually("it says that it is up", node.said))
        assert up["peer_id"] == status["peer_id"]
        assert up["http"].startswith("http://127.0.0.1:")
        assert json.loads(said("id", "--json")) == {"peer_id": up["peer_id"], "addresses": up["addresses"]}
        assert KEY.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        shown = json.loads(said("config", "show", "--origin", "--json"))["settings"]
        assert shown["types"] == {"value": ["valves", "pumps"], "origin": "$ESPEER_TYPES"}
        assert shown["http_key"]["origin"] == f"{file}:4"
        assert KEY not in json.dumps(shown)
        states = {one["check"]: one["state"] for one in json.loads(said("doctor", "--json"))}
        assert states["in use"] == "ok"
        node.stop()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
