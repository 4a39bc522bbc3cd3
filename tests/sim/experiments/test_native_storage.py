"""LLM-native storage: what is written, with the fake and with the default model; corpora; rankings by vectors."""

import gzip
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from espeer.errors import InputError
from espeer.llm.fake import FakeModel
from espeer.sim.experiments import corpora, performing, settings, vectors
from espeer.sim.experiments.report import Report
from espeer.sim.experiments.settings import Native

SCENARIO = """
experiment = "native"
name = "small"
about = "The incidents, by the fake model."
model = "fake"
seeds = [1, 2]
sources = ["incidents"]
queries = 20
others = 30
questions = 5
timed = 2
ks = [1, 3]
"""


def chosen() -> Native:
    found = settings.parse(SCENARIO)
    assert isinstance(found, Native)
    return found


def perform(wanted: Native, folder: Path, data: Path | None = None) -> Report:
    return performing.perform(wanted, folder=folder, data=data, command="x", console=Console(file=io.StringIO()))


def test_it_writes_figures_tables_and_plots_and_does_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = perform(chosen(), tmp_path)
    figures = {figure.name: figure for figure in report.figures}
    assert len(figures["incidents.text.ndcg@10"].outcomes) == 20
    assert all(len(values) == 2 for values in figures["incidents.hybrid.ndcg@10"].outcomes.values())
    assert sum(map(len, figures["incidents.states.k3"].outcomes.values())) == 10
    assert figures["incidents.text.k3"].estimate.value > figures["incidents.plain"].estimate.value  # the fake can quote
    assert len(figures["incidents.first_token_ms.states.k1"].outcomes) == 2
    assert {path.name for path in tmp_path.glob("*.svg")} == {"native-recall-incidents.svg", "native-first-token-incidents.svg"}
    assert all(table.title in (tmp_path / "result.md").read_text() for table in report.tables)

    def never(self: FakeModel, *_: object) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr(FakeModel, "score", never)
    monkeypatch.setattr(FakeModel, "generate", never)
    again = perform(chosen(), tmp_path)
    assert [figure.outcomes for figure in again.figures] == [figure.outcomes for figure in report.figures]


@pytest.mark.model
def test_with_the_default_model_states_are_made_weighed_and_used(tmp_path: Path) -> None:
    one = replace(chosen(), model="", seeds=(1,), queries=4, others=10, questions=2, timed=1, ks=(1, 2))
    report = perform(one, tmp_path)
    (weights,) = next(table for table in report.tables if table.title.startswith("Bytes")).rows
    tokens, text, record, float32, state = (float(weights[place].replace(",", "")) for place in (1, 2, 3, 4, 7))
    assert tokens < text < record < float32 == 4 * 576
    a_token = 30 * 2 * 3 * 64 * 2  # layers, keys and values, heads, numbers, bytes
    assert a_token * tokens < state < a_token * (tokens + 3)  # of the note: "- " and a line break are its own, too
    assert {figure.name for figure in report.figures} > {"incidents.states.k2", "incidents.first_token_ms.first.k2"}


def test_a_corpus_has_all_that_is_sought_and_others_by_the_seed(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"type": "doc", "id": str(number), "title": f"Title {number}", "text": f"Title {number}: " + "word " * 400}
        for number in range(30)
    ]
    rows += [
        {"type": "doc", "id": "again", "title": "", "text": rows[3]["text"]},
        {"type": "doc", "id": "empty", "title": "", "text": ""},
        {"type": "query", "id": "q", "text": "which?", "split": "test"},
        {"type": "query", "id": "in vain", "text": "nothing?", "split": "test"},
        {"type": "qrel", "query": "q", "doc": "again", "score": 2},
        {"type": "qrel", "query": "q", "doc": "5", "score": 1},
        {"type": "qrel", "query": "in vain", "doc": "empty", "score": 1},
    ]
    with gzip.open(tmp_path / "retrieval_scifact.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    source = corpora.load(tmp_path, "scifact", 10)
    assert len(source.texts) == 30  # of equal documents one, and none without text
    assert source.queries == {"q": "which?"}
    assert source.gains == {"q": {"3": 2.0, "5": 1.0}}
    assert max(map(len, source.texts.values())) <= corpora.MOST_CHARACTERS
    drawn = [set(corpora.drawn(source, 10, seed).texts) for seed in (1, 1, 2)]
    assert all(len(one) == 12 and one > {"3", "5"} for one in drawn)
    assert drawn[0] == drawn[1] != drawn[2]
    with pytest.raises(InputError, match="with --data"):
        corpora.load(None, "scifact", 10)


def test_rankings_by_vectors() -> None:
    stored = np.array([[1, 9], [2, 9], [0, 9.5]], np.float32)
    mean = stored.mean(axis=0)
    asked = vectors.centred(np.array([1.8, 9], np.float32), mean)
    assert vectors.nearest(asked, vectors.centred(stored, mean), 2) == [1, 0]  # all three are alike before
    assert np.abs(vectors.in_int8(stored) - stored).max() <= 9.5 / 254
    assert vectors.fused([["a", "b", "c"], ["b", "d"]], 3) == ["b", "a", "d"]
