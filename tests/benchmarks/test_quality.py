"""What the benchmarks count with, against values worked out by hand."""

import math

import pytest

from benchmarks.quality import difference, ndcg, recall
from benchmarks.report import Figure


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


def test_equal_values_do_not_differ() -> None:
    same = difference([0.1, 0.5, 0.9], [0.1, 0.5, 0.9])
    assert (same.mean, same.low, same.high, same.clear) == (0.0, 0.0, 0.0, False)


def test_a_difference_that_all_queries_share_is_clear() -> None:
    one = difference([0.3, 0.6, 1.0], [0.2, 0.5, 0.9])
    assert (one.mean, one.low, one.high) == pytest.approx((0.1, 0.1, 0.1))
    assert one.clear


def test_the_interval_is_that_of_the_normal_distribution_where_it_must_be() -> None:
    values = [0.0, 1.0] * 200  # mean 1/2, standard error sqrt(1/4 / 400) = 0.025
    one = difference(values, [0.0] * 400)
    assert one.mean == 0.5
    assert (one.low, one.high) == pytest.approx((0.5 - 1.96 * 0.025, 0.5 + 1.96 * 0.025), abs=0.003)
    assert one == difference(values, [0.0] * 400)  # seeded


@pytest.mark.parametrize(
    ("figure", "aim", "reached"),
    [
        (Figure("x", 100.0, "µs", at_most=100), "≤ 100 µs", True),
        (Figure("x", 149.9, "x", at_least=150), "≥ 150 x", False),
        (Figure("x", 1.0, "s"), "", None),
    ],
)
def test_an_aim_is_reached_or_not(figure: Figure, aim: str, reached: bool | None) -> None:
    assert (figure.aim, figure.reached) == (aim, reached)
