"""What the benchmarks count with, against values worked out by hand."""

import pytest

from benchmarks.quality import difference
from benchmarks.report import Figure


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
