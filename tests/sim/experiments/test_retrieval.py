"""How good a ranking is, against values worked out by hand; collections made of questions."""

import math

import pytest

from espeer.sim.experiments import questions, retrieval
from espeer.sim.experiments.retrieval import ndcg, recall


def test_a_perfect_ranking_has_an_ndcg_of_one() -> None:
    assert ndcg(["a", "b", "c"], {"a": 3.0, "b": 1.0}) == 1.0


def test_ndcg_has_linear_gains() -> None:
    expected = (1 / math.log2(2) + 3 / math.log2(4)) / (3 / math.log2(2) + 1 / math.log2(3))
    assert ndcg(["b", "x", "a"], {"a": 3.0, "b": 1.0}) == pytest.approx(expected)


def test_ndcg_looks_no_deeper_than_told() -> None:
    assert ndcg(["x", "a"], {"a": 1.0}, depth=1) == 0.0
    assert ndcg(["a"], {"a": 1.0, "b": 1.0}, depth=1) == 1.0  # the best ranking is cut as well
    assert ndcg(["x", "a"], {"a": 1.0}) == pytest.approx(1 / math.log2(3))


def test_without_judgements_there_is_nothing_to_gain() -> None:
    assert ndcg(["a"], {}) == 0.0
    assert recall(["a"], {}) == 0.0


def test_recall_counts_what_is_relevant_at_all() -> None:
    gains = {"a": 4.0, "b": 1.0, "c": 0.0, "d": 2.0}
    assert recall(["a", "c", "x", "b"], gains) == pytest.approx(2 / 3)
    assert recall(["a", "c", "x", "b"], gains, depth=3) == pytest.approx(1 / 3)


def test_questions_with_what_is_known_about_them_make_a_collection() -> None:
    items = questions.load(None, "incidents")
    made = retrieval.of_items("incidents", [*items, items[3]], items[:5])
    assert len(made.texts) == len(items)
    assert list(made.queries) == [item.id for item in items[:5]]
    assert all(made.texts[document] == item.support for item in items[:5] for document in made.gains[item.id])
