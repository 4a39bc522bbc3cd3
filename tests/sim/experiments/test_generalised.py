"""Generalised experience, with a model that needs no weights: what it writes, and that it goes on where it was stopped."""

import io
import json
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from stopping import stop_once

from espeer.errors import ConfigError, InputError
from espeer.llm.engine import Engine
from espeer.llm.shared import shared_model
from espeer.sim.experiments import generalised, performing, settings
from espeer.sim.experiments.generalised import Asked, Outcome
from espeer.sim.experiments.journal import Journal
from espeer.sim.experiments.report import Report
from espeer.sim.experiments.settings import Generalised

SCENARIO = """
experiment = "generalised"
name = "small"
about = "The incidents, by the fake model."
model = "fake"
seeds = [1, 2]
subjects = ["incidents"]
most = 20

[quick]
most = 10
"""


def perform(chosen: settings.Settings, folder: Path) -> Report:
    return performing.perform(chosen, folder=folder, data=None, command="x", console=Console(file=io.StringIO()))


def test_it_writes_figures_tables_and_plots(tmp_path: Path) -> None:
    report = perform(settings.parse(SCENARIO), tmp_path)
    found = json.loads((tmp_path / "result.json").read_text())
    assert [figure["name"] for figure in found["figures"]] == [
        "incidents.plain",
        "incidents.memory",
        "incidents.experience",
        "incidents.experience, read anew",
    ]
    assert all(sum(map(len, figure["outcomes"].values())) == 8 for figure in found["figures"])  # 4 questions, 2 seeds
    assert found["about"]["seeds"] == [1, 2]
    assert report.tables[0].title in (tmp_path / "result.md").read_text()
    assert (tmp_path / "small.svg").read_text().startswith("<?xml")
    assert (tmp_path / "small.png").read_bytes().startswith(b"\x89PNG")


def test_reading_anew_is_asked_of_a_model_that_joins_no_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    joins: list[dict[str, int]] = []

    def opened(model: str | None, **given: int) -> AbstractAsyncContextManager[Engine]:
        joins.append(given)
        return shared_model(model)

    monkeypatch.setattr(generalised, "shared_model", opened)
    perform(settings.parse(SCENARIO, quick=True), tmp_path)
    assert joins == [{}, {"kv_cache_mb": 0}]


def test_several_subjects_are_also_told_together() -> None:
    chosen = settings.parse(SCENARIO)
    assert isinstance(chosen, Generalised)
    asked = [
        Asked(1, f"{subject} {number}", condition, "experience" in condition or number == 0)
        for subject in "ab"
        for number in range(4)
        for condition in generalised.CONDITIONS
    ]
    found = {subject: Outcome([one for one in asked if one.item[0] == subject], leaks=2) for subject in "ab"}
    made = generalised._report(chosen, found, model="m", method="letter")
    shares, pairs = made.tables
    assert [row[:2] for row in shares.rows] == [("a", "4"), ("b", "4"), ("all subjects", "8")]
    assert [row[3] for row in pairs.rows if row[0] == "all subjects"] == ["0 / 0", "6 / 0", "6 / 0", "6 / 0", "0 / 0"]
    assert made.plots[0].x == ("a", "b", "all subjects")
    assert made.notes[0].endswith(": 4")


def test_it_goes_on_where_it_was_stopped_and_does_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = settings.parse(SCENARIO)
    done = stop_once(monkeypatch, after=30)
    with pytest.raises(KeyboardInterrupt):
        perform(chosen, tmp_path)
    perform(chosen, tmp_path)
    assert len(done) == len(set(done))
    whole = perform(chosen, tmp_path / "at-once")
    assert [one.outcomes for one in whole.figures] == [one.outcomes for one in perform(chosen, tmp_path).figures]


def test_more_seeds_are_more_work_and_not_other_work(tmp_path: Path) -> None:
    chosen = settings.parse(SCENARIO)
    assert isinstance(chosen, Generalised)
    perform(replace(chosen, seeds=(1,)), tmp_path)
    with Journal(tmp_path / "work.db", performing._depends(chosen)) as journal:
        assert "method" in journal
    report = perform(chosen, tmp_path)
    assert report.about["seeds"] == (1, 2)


def test_work_with_other_settings_is_not_gone_on_with(tmp_path: Path) -> None:
    chosen = settings.parse(SCENARIO)
    assert isinstance(chosen, Generalised)
    perform(chosen, tmp_path)
    for other in (replace(chosen, k=5), replace(chosen, share=0.5), replace(chosen, support=False)):
        with pytest.raises(InputError, match="another model, data or settings"):
            perform(other, tmp_path)


def test_the_smaller_form_and_faults() -> None:
    small = settings.parse(SCENARIO, quick=True)
    assert isinstance(small, Generalised)
    assert small.most == 10
    for fault, message in (
        ("experiment = 'no'", "give one of .*generalised"),
        (SCENARIO.replace("most = 20", "most = 1"), "most is 1; give 10"),
        (SCENARIO.replace("most = 10", "mots = 1"), "in the quick form: mots is not known"),
        ("=", "not TOML"),
    ):
        with pytest.raises(ConfigError, match=message):
            settings.parse(fault)


def test_every_kind_of_experiment_can_be_performed() -> None:
    assert set(performing._RUNS) == set(settings.KINDS.values())
