"""What holds for all verbs: they explain themselves, can speak JSON, start quickly, and a shell can complete them."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from espeer.cli.main import app

ROOT = Path(__file__).parents[2]
NO_JSON = {"mcp"}  # it speaks JSON-RPC
SLOW = ("asyncio", "fastapi", "libp2p", "llama_cpp", "mcp", "pydantic", "sqlite3", "structlog", "trio")
"""What takes a while to import, and most verbs do without."""


def leaves(parent: App, name: str = "") -> Iterator[tuple[str, App]]:
    for word, verb in parent.resolved_commands().items():
        if word.startswith("-"):
            continue
        full = f"{name} {word}".strip()
        below = dict(leaves(verb, full))
        if below:
            yield from below.items()
        else:
            yield full, verb


VERBS = dict(leaves(app))


def helped(verb: str, capsys: pytest.CaptureFixture[str]) -> str:
    app([*verb.split(), "--help"])
    return capsys.readouterr().out


def test_there_are_verbs() -> None:
    assert {"node", "ask", "experiences why", "config show", "doctor", "completion"} <= set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_shows_an_example_of_itself_and_its_exit_codes(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = " ".join(helped(verb, capsys).split())
    assert re.search(rf"Example: .*espeer {verb}\b", shown)
    assert "Exit codes: 0 done, 1 it failed" in shown


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in NO_JSON])
def test_each_verb_can_speak_json(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--json" in helped(verb, capsys)


@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_takes_whole_numbers_that_are_rounded(verb: str) -> None:
    """cyclopts takes 1.5 for 1 or 2, where nothing else is said."""
    arguments = VERBS[verb].assemble_argument_collection()
    assert [one.name for one in arguments if one.hint is int and one.parameter.converter is None] == []


def test_the_page_of_the_command_line_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/cli_docs.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [["--help"], ["ask", "--help"], ["status", "--data", "/nowhere"], ["config", "show"]])
def test_what_takes_long_to_import_is_not_imported(words: list[str]) -> None:
    program = f"""
import sys
from espeer.cli.main import main
sys.argv = ["espeer", *{words!r}]
try:
    main()
except SystemExit:
    pass
print(*({set(SLOW)!r} & sys.modules.keys()), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == ""


def test_the_help_of_the_whole_tells_of_each_verb() -> None:
    done = subprocess.run([sys.executable, "-m", "espeer", "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
    for verb in {name.split()[0] for name in VERBS}:
        assert re.search(rf"│ {verb} +\w", done.stdout), verb


# -- completion


def completed(script: Path, line: str) -> list[str]:
    """What a real bash offers where the cursor stands at the end of a line."""
    words = line.split(" ")
    program = f"""
source {script}
COMP_WORDS=({" ".join(repr(word) for word in words)})
COMP_CWORD={len(words) - 1}
_espeer
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "--norc", "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("bash"):
        pytest.skip("no bash")
    path = tmp_path_factory.mktemp("completion") / "espeer.bash"
    made = subprocess.run([sys.executable, "-m", "espeer", "completion", "bash"], cwd=ROOT, capture_output=True, check=True)
    path.write_bytes(made.stdout)
    return path


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("espeer exper", ["experiences"]),
        ("espeer experiences ", ["list", "show", "why"]),
        ("espeer node --refine-th", ["--refine-threshold"]),
        ("espeer node --role ", ["peer", "server", "client"]),
        ("espeer config sh", ["show"]),
        ("espeer completion ", ["bash", "zsh", "fish"]),
    ],
)
def test_bash_completes(script: Path, line: str, offered: list[str]) -> None:
    assert completed(script, line) == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_scripts_for_other_shells(shell: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert app.meta(["completion", shell, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)["script"]
    assert "espeer" in made
    assert "refine-threshold" in made
    if found := shutil.which(shell):
        (tmp_path / "script").write_text(made)
        subprocess.run([found, "-n", tmp_path / "script"], check=True)
