"""A node's long use, with a model that needs no weights: what is measured, and that it is told of nothing twice."""

import io
import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from espeer.errors import InputError
from espeer.folder import store_path
from espeer.sim.experiments import endurance, performing, questions, settings
from espeer.sim.experiments.journal import Journal
from espeer.store import Store

SCENARIO = """
experiment = "endurance"
name = "small"
about = "The incidents, by the fake model."
model = "fake"
seeds = [1]
subjects = ["incidents"]
queries = 24
different = 8
window = 8
refine_every = 12
max_records = 10
rest = 0.01
rest_every = 8
"""


def perform(folder: Path) -> dict[str, Any]:
    performing.perform(settings.parse(SCENARIO), folder=folder, data=None, command="x", console=Console(file=io.StringIO()))
    return json.loads((folder / "result.json").read_text())  # type: ignore[no-any-return]


def test_a_node_is_told_of_each_query_once_however_often_it_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put = Journal.put

    def stop(self: Journal, key: str, result: object) -> None:
        if key in stops:
            stops.remove(key)
            raise KeyboardInterrupt
        put(self, key, result)

    stops = ["1 7 asked", "1 11 told"]  # after the answer; after it was told and refined
    monkeypatch.setattr(Journal, "put", stop)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            perform(tmp_path)
    found = perform(tmp_path)
    assert stops == []
    with closing(Store.open(store_path(tmp_path / "node-1"))) as store:
        assert store.interactions() == 24
        states = {state: number for _, state, number in store.counts()}
    values = {figure["name"]: figure["estimate"] for figure in found["figures"]}
    assert values["told of before.right"]["value"] > values["told of before.without recall"]["value"]
    assert values["not told of before.right"]["of"] == 8
    tables = {table["title"]: table["rows"] for table in found["tables"]}
    assert [row[0] for row in tables["In the course of it"]] == ["1 to 8", "9 to 16", "17 to 24"]
    assert tables["In the course of it"][-1][3] == str(states["active"])
    assert states["active"] <= 10  # what there is room for
    assert len(tables["Refinement runs"]) >= 2
    assert {"small-right.svg", "small-growth.svg", "small-cost.svg"} <= {path.name for path in tmp_path.iterdir()}

    shutil.rmtree(tmp_path / "node-1")
    assert perform(tmp_path)["figures"] == found["figures"]  # all is in the journal


@pytest.mark.parametrize("gone", ["node-1", "work.db"])
def test_neither_journal_nor_node_is_gone_on_with_alone(gone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put = Journal.put

    def stop(self: Journal, key: str, result: object) -> None:
        put(self, key, result)
        if key == "1 2 told":
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "put", stop)
    with pytest.raises(KeyboardInterrupt):
        perform(tmp_path)
    if gone == "work.db":
        for path in tmp_path.glob("work.db*"):
            path.unlink()
    else:
        shutil.rmtree(tmp_path / gone)
    with pytest.raises(InputError, match="is not the folder of the node"):
        perform(tmp_path)


def test_what_is_told_is_another_sentence_each_time() -> None:
    item = questions.load(None, "incidents")[0]
    told = [endurance.feedback(item, turn, support=True) for turn in range(4)]
    assert told[0] == told[3]
    assert len(set(told)) == 3
    assert all(text.startswith(f"{item.right}. ") for text in told)
    assert endurance.feedback(item, 0, support=False) == item.right
