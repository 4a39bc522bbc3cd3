"""`espeer config`, and where all verbs find the data folder; in this process."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from espeer.cli.main import app
from espeer.settings import SETTINGS

Run = Callable[..., str]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user's folder with a file of settings in it."""
    monkeypatch.setenv("ESPEER_HOME", str(tmp_path))
    monkeypatch.delenv("ESPEER_CONFIG", raising=False)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line; return what it said, on standard output or, where it must fail, in its one line of complaint."""

    def run(*words: object, code: int = 0) -> str:
        assert app.meta([*map(str, words)]) == code
        said = capsys.readouterr()
        if code == 0:
            return said.out
        assert said.out == ""
        assert said.err.startswith("espeer: ")
        assert said.err.count("\n") == 1
        return said.err.removeprefix("espeer: ").rstrip()

    return run


def test_show_tells_what_comes_from_where(home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "config.toml").write_text('types = ["pumps", "valves"]\n\nthreads = 4\n')
    monkeypatch.setenv("ESPEER_CONTEXT", "512")
    words = ["config", "show", "--threads", "2", "--no-warming"]
    found = json.loads(run(*words, "--origin", "--json"))
    assert found["file"] == str(home / "config.toml")
    assert list(found["settings"]) == list(SETTINGS)
    named = {name: found["settings"][name] for name in ("types", "threads", "context", "warming", "recall", "data")}
    assert named == {
        "types": {"value": ["pumps", "valves"], "origin": f"{home}/config.toml:1"},
        "threads": {"value": 2, "origin": "--threads"},
        "context": {"value": 512, "origin": "$ESPEER_CONTEXT"},
        "warming": {"value": False, "origin": "--warming"},
        "recall": {"value": 3, "origin": "default"},
        "data": {"value": str(home), "origin": "$ESPEER_HOME"},
    }
    assert json.loads(run(*words, "--json"))["settings"]["threads"] == {"value": 2}
    lines = [line.split() for line in run(*words, "--origin").splitlines()]
    assert ["types", '["pumps",', '"valves"]', f"{home}/config.toml:1"] in lines
    assert len(lines) == len(SETTINGS) + 2


@pytest.mark.parametrize("options", [[], ["--origin"], ["--json"], ["--json", "--origin"]])
def test_secrets_are_not_shown(home: Path, run: Run, monkeypatch: pytest.MonkeyPatch, options: list[str]) -> None:
    monkeypatch.setenv("ESPEER_PSK", "ab" * 32)
    monkeypatch.setenv("ESPEER_HTTP_KEY", "correct horse battery")
    monkeypatch.setenv("ESPEER_JOIN", "espeer1xyz")
    said = run("config", "show", *options)
    assert said.count("(given, not shown)") == 3
    for secret in ("abab", "horse", "espeer1", "xab"):
        assert secret not in said


def test_init_writes_a_file_that_can_be_used_and_never_over_one(home: Path, run: Run) -> None:
    place = home / "config.toml"
    assert json.loads(run("config", "init", "--json")) == {"file": str(place)}
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert json.loads(run("config", "check", "--json")) == {"file": str(place), "settings": 0}
    written = place.read_text()
    assert run("config", "init", code=1) == f"{place} is there already; edit it, or give --path another name"
    assert place.read_text() == written
    other = home / "sub" / "other.toml"
    assert run("config", "init", "--path", other) == f"wrote {other}\n"
    assert other.read_text() == written
    beside = place / "x.toml"
    assert run("config", "init", "--path", beside, code=1).startswith(f"cannot write {beside}: ")


def test_check_ends_with_1_where_something_cannot_be(home: Path, run: Run) -> None:
    file = home / "own.toml"
    file.write_text("thread = 4\n")
    assert run("config", "check", file, code=1) == f"{file}:1: thread is not a setting; did you mean threads?"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            'listen = ["0.0.0.0:4001"]',
            "cannot listen on '0.0.0.0:4001': give an address such as /ip4/0.0.0.0/tcp/4001 (listen is",
        ),
        ('http = "0.0.0.0:7741"', "others could use this node through 0.0.0.0:7741 without a key"),
        ('http_key_file = "key"', "cannot read "),
    ],
)
def test_check_refuses_what_a_node_would_not_start_with(home: Path, run: Run, line: str, said: str) -> None:
    file = home / "own.toml"
    file.write_text(f"{line}\n")
    assert run("config", "check", file, code=1).startswith(said)


def test_every_verb_finds_the_data_folder_of_the_settings(home: Path, run: Run, tmp_path: Path) -> None:
    assert f"no node runs on {home};" in run("status", code=1)
    (home / "config.toml").write_text('data = "pumps"\n')
    assert f"no node runs on {home}/pumps;" in run("status", code=1)
    (home / "own.toml").write_text('data = "valves"\n')
    assert f"no node runs on {home}/valves;" in run("status", "--config", home / "own.toml", code=1)
    assert f"no node runs on {home}/flag;" in run("status", "--data", home / "flag", code=1)
    (home / "config.toml").write_text("date = 1\n")
    assert run("status", code=1) == f"{home}/config.toml:1: date is not a setting; did you mean data?"
    assert "no node runs on" in run("status", "--data", home / "flag", code=1)  # then nothing has to be looked up


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["ask", "hm", "--seed", "1.5"], "'1.5' is not a whole number"),
        (["recall", "hm", "-k", "2.0"], "'2.0' is not a whole number"),
        (["node", "--threads", "1.5"], '--threads is "1.5"; give a whole number, or "none"'),
        (["node", "--k1", "much"], '--k1 is "much"; give a number'),
        (
            ["nodee"],
            (
                'Unknown command "nodee". Did you mean "node"? '
                "Available commands: node, ask, feedback, invite, learn, recall, peers, status, ..."
            ),
        ),
        (["node", "--role", "boss"], 'Invalid value "boss" for --role. Choose from: "peer", "server", "client"'),
        (["node", "--http-key", "x"], "Unknown option: --http-key. Did you mean --http-key-file?"),
    ],
)
def test_wrong_usage_is_told_in_a_line(run: Run, words: list[str], line: str) -> None:
    assert run(*words, code=2) == f"{line}; see `espeer --help`"
