"""Sensitivity, with a model that needs no weights: the grid and what is recalled, against what is known of the incidents."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from espeer import Config
from espeer.sim.experiments import grid, performing, settings
from espeer.sim.experiments.grid import Found
from espeer.sim.experiments.journal import Journal

SCENARIO = """
experiment = "sensitivity"
name = "small"
about = "The incidents, by the fake model."
model = "fake"
seeds = [1, 2]
collections = ["incidents"]
k1 = [0.9]
b = [0.0]
queries = 30
subjects = ["incidents"]
ks = [0, 1]
most = 20
"""


def perform(folder: Path, scenario: str = SCENARIO) -> dict[str, object]:
    performing.perform(settings.parse(scenario), folder=folder, data=None, command="x", console=Console(file=io.StringIO()))
    return json.loads((folder / "result.json").read_text())  # type: ignore[no-any-return]


def test_the_default_is_that_of_a_node() -> None:
    config = Config()
    assert (config.k1, config.b, config.recall) == (grid.K1, grid.B, grid.K)


def test_what_was_learnt_helps_where_it_is_asked_again_and_shown(tmp_path: Path) -> None:
    found = perform(tmp_path)
    values = {figure["name"]: figure["estimate"]["value"] for figure in found["figures"]}  # type: ignore[attr-defined]
    assert values["incidents.again.k 0"] < values["incidents.again.k 1"]
    assert values["incidents.new.k 0"] < 1
    assert values["incidents.recall at 1"] <= values["incidents.recall at 3"] <= 1
    assert values["incidents.ndcg"] > 0.9  # each question is nearly always nearest to its own incident
    assert {path.suffix for path in tmp_path.glob("small-*")} == {".svg", ".png"}
    incidents = [figure for figure in found["figures"] if figure["name"] == "incidents.ndcg"]  # type: ignore[attr-defined]
    assert len(incidents[0]["outcomes"]) == 30


def test_a_finer_grid_is_more_work_and_not_other_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    perform(tmp_path)
    done: list[str] = []
    put = Journal.put
    monkeypatch.setattr(Journal, "put", lambda self, key, result: (put(self, key, result), done.append(key)))
    perform(tmp_path, SCENARIO.replace("b = [0.0]", "b = [0.0, 0.5]"))
    assert len(done) == 2  # two values of k1
    assert all("0.5)" in key for key in done)


def test_a_point_is_judged_on_queries_that_it_was_not_chosen_by() -> None:
    queries = [f"q{number}" for number in range(40)]
    flat = Found(dict.fromkeys(queries, 0.5), {})
    lucky = Found({query: float(number % 2) for number, query in enumerate(queries)}, {})
    better = Found(dict.fromkeys(queries, 0.7), {})
    assert grid.tuned({(grid.K1, grid.B): flat, (1.0, 0.5): better}, [1, 2])[0].value == pytest.approx(0.2)
    gain, chosen = grid.tuned({(grid.K1, grid.B): flat, (1.0, 0.5): lucky}, [1, 2, 3])
    assert gain.low < 0 < gain.high
    assert len(chosen) == 3
