"""Refined experience, on a small scale: what it measures, and that it goes on where it was stopped."""

import io
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from espeer.errors import InputError
from espeer.llm.fake import FakeModel
from espeer.llm.model import Prompt, Run, Sampling
from espeer.sim.experiments import performing, saturated, settings
from espeer.sim.experiments.journal import Journal
from espeer.sim.experiments.pupil import TYPE
from espeer.sim.experiments.report import Report
from espeer.sim.experiments.settings import Refined

SCENARIO = """
experiment = "refined"
name = "small"
about = "The incidents, by the fake model."
model = "fake"
seeds = [1, 2]
subjects = ["incidents"]
most = 12
train = 3
test = 3
iterations = 20
wordings = 5
written = 2
raw = [10, 1000]
normalised = [0.4]
"""


def chosen(**other: object) -> Refined:
    parsed = settings.parse(SCENARIO)
    assert isinstance(parsed, Refined)
    return replace(parsed, **other)  # type: ignore[arg-type]


def perform(what: Refined, folder: Path) -> Report:
    return performing.perform(what, folder=folder, data=None, command="x", console=Console(file=io.StringIO()))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refined")
    perform(chosen(), folder)
    return folder


def values(folder: Path) -> dict[str, float]:
    found = json.loads((folder / "result.json").read_text())
    return {figure["name"].removeprefix("incidents."): figure["estimate"]["value"] for figure in found["figures"]}


def test_stores_are_smaller_where_the_threshold_is_low_enough(done: Path) -> None:
    found = values(done)
    assert found["full.active"] == found["raw-1000.active"] == 60
    assert found["raw-1000.calls"] == 0
    assert found["normalised-0.4.active"] < 20
    assert found["normalised-0.4.bytes"] < found["full.bytes"] / 3
    assert found["normalised-0.4.calls"] > 0
    assert found["full.repeated"] == found["full.told"] == 1
    assert found["plain.repeated"] < 1


def test_everything_is_written(done: Path) -> None:
    page = (done / "result.md").read_text()
    assert "| raw 1000 | 60 | " in page
    assert "Pairs: each store over the full one" in page
    rows = {row.split(" | ")[0]: row for row in reversed(page.splitlines()) if row.count(" | ") == 5}
    assert rows["| full"].endswith("| 3.0 / 1.3 |")  # all three are the question's own, in one or two wordings
    assert rows["| normalised 0.4"].endswith("| 1.0 / 1.5 |")
    plots = {"small-incidents-raw", "small-incidents-normalised", "small-size-raw", "small-size-normalised"}
    assert {file.stem for file in done.glob("*.svg")} == {file.stem for file in done.glob("*.png")} == plots


def test_more_thresholds_are_more_work_and_what_the_model_wrote_is_not_asked_for_again(
    done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = values(done)
    asked: Counter[str] = Counter()
    generate = FakeModel.generate

    def counted(self: FakeModel, prompt: Prompt, sampling: Sampling) -> Run:
        asked["generate"] += 1
        return generate(self, prompt, sampling)

    monkeypatch.setattr(FakeModel, "generate", counted)
    perform(chosen(raw=(10.0, 1000.0, 2000.0)), done)
    assert not asked
    again = values(done)
    assert {name: again[name] for name in before} == before
    assert again["raw-2000.active"] == 60


def test_it_goes_on_where_it_was_stopped(tmp_path: Path, done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[str] = []
    put = Journal.put

    def stop_in_the_middle(self: Journal, key: str, result: object) -> None:
        put(self, key, result)
        keys.append(key)
        if sum(one.startswith("complete") for one in keys) == 8:  # six are wordings
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "put", stop_in_the_middle)
    with pytest.raises(KeyboardInterrupt):
        perform(chosen(), tmp_path)
    monkeypatch.setattr(Journal, "put", put)
    perform(chosen(), tmp_path)
    whole = values(done)
    assert values(tmp_path).items() <= whole.items()


def test_too_few_questions_are_said_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lower train or test, or raise most"):
        perform(chosen(train=9, test=9), tmp_path)


def test_a_store_is_saturated_with_every_wording() -> None:
    wordings = {"a": [f"a says {number}" for number in range(4)], "b": ["b says nothing new"]}
    full = saturated.saturate(wordings, iterations=10, seed=1, model="m")
    assert Counter(full.items.values()) == {"a": 10, "b": 10}
    with saturated.held(full) as one:
        assert one.kept.active == 20
        texts = {one.replica.experience(key).text for key in one.replica.active(TYPE)}
        alike = saturated.likeness(full, one.replica, "normalised")
    assert texts == {*wordings["a"], *wordings["b"]}
    assert len(alike.same) == 20 * 9
    assert len(alike.other) == 20 * 10
    assert min(alike.same) > max(alike.other)
