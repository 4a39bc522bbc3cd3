"""`espeer model`, in this process: the verbs work without a node."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "llm"))
from tiny_gguf import write_tiny

from espeer.cli.main import app
from espeer.llm.loading import open_model
from espeer.llm.weights import FORMS

CONTEXT = 4096  # its tokens are bytes: the questions are long

Runs = Callable[..., Any]


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr("espeer.llm.weights.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "cache"


@pytest.fixture
def run(cache: Path, capsys: pytest.CaptureFixture[str]) -> Runs:
    def run(*words: object) -> Any:
        assert app.meta(["model", *map(str, words), "--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def refusal(cache: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def refusal(*words: object) -> str:
        assert app.meta(["model", *map(str, words)]) == 1
        lines = capsys.readouterr().err.splitlines()
        assert [line for line in lines if line.startswith("espeer: ")] == lines[-1:]
        return lines[-1]

    return refusal


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "Tiny.F32.gguf", llama__context_length=CONTEXT, general__license="mit", general__file_type=0)


def test_info(run: Runs, tiny: Path) -> None:
    found = run("info", tiny)
    assert found["architecture"] == "llama"
    assert (found["quantisation"], found["licence"], found["context"], found["chat"]) == ("F32", "mit", CONTEXT, "plain")
    assert found["keeps_notes"]
    assert found["runs_as"] == str(tiny)
    assert found["size"] == tiny.stat().st_size


def test_bench(run: Runs, tiny: Path) -> None:
    found = run("bench", tiny)
    assert found["threads"][0]["threads"] == 1
    assert all(row["prompt_tokens_per_second"] > 0 and row["first_token_ms"] > 0 for row in found["threads"])


def test_list_shows_the_hub_and_what_was_made(run: Runs, tmp_path: Path, cache: Path) -> None:
    for folder, name in ((tmp_path / "hub/models--o--r/snapshots/1/sub", "a.gguf"), (cache / "models/0", "b.gguf")):
        folder.mkdir(parents=True)
        write_tiny(folder / name, general__license="mit")
    (cache / "models/0/half.gguf").write_bytes(b"GGUF")
    found = [row for row in run("list") if row["where"] != "default"]
    assert [(row["where"], Path(row["path"]).name, row["licence"]) for row in found] == [
        ("hub", "a.gguf", "mit"),
        ("made by espeer", "b.gguf", "mit"),
    ]


def test_optimise_chooses_uses_and_undoes(run: Runs, tiny: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tiny.read_bytes()
    found = run("optimise", tiny, "--dry-run")
    assert [row["form"] for row in found["forms"]] == ["as it is", "Q8_0", "Q4_0", "F16"]
    assert found["forms"][0]["holds"]
    assert list(cache.rglob("*.gguf")) == []
    assert run("info", tiny)["runs_as"] == str(tiny)

    monkeypatch.setattr("espeer.lifecycle.optimise.fastest", lambda measured: measured[1])  # random weights: not for speed
    assert run("optimise", tiny)["fastest"] == "Q8_0"
    runs_as = Path(run("info", tiny)["runs_as"])
    assert runs_as.name == "tiny.q8_0.gguf"
    assert list(cache.rglob("*.gguf")) == [runs_as]
    model = open_model(str(tiny), context=128)
    assert model.name == "tiny.q8_0"
    model.close()

    assert run("optimise", tiny, "--undo") == {"path": str(tiny), "undone": "Q8_0"}
    assert list(cache.rglob("*.gguf")) == []
    assert run("info", tiny)["runs_as"] == str(tiny)
    assert run("optimise", tiny, "--undo")["undone"] is None
    assert tiny.read_bytes() == before


def test_a_search_that_fails_leaves_nothing(refusal: Callable[..., str], tmp_path: Path, cache: Path) -> None:
    short = write_tiny(tmp_path / "short.gguf")  # a context of 256: the questions do not fit
    assert "the prompt has" in refusal("optimise", short)
    assert list(cache.rglob("*.gguf")) == []


def test_what_makes_no_sense_is_refused(refusal: Callable[..., str], tiny: Path, tmp_path: Path, cache: Path) -> None:
    assert "there is no model file" in refusal("info", tmp_path / "none.gguf")
    assert "embedding model" in refusal("bench", write_tiny(tmp_path / "e.gguf", general__architecture="bert"))
    assert "do not go together" in refusal("optimise", tiny, "--undo", "--dry-run")
    (cache / "models/0").mkdir(parents=True)
    made = write_tiny(cache / "models/0/made.gguf")
    assert "name that one" in refusal("optimise", made)
    assert set(FORMS) == {"F16", "Q8_0", "Q4_0"}
