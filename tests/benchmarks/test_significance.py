"""What the engine's benchmark counts with, against values worked out by hand."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.significance import divergence, ratio
from espeer.sim.experiments.estimates import Discordant, discordant


@pytest.mark.parametrize(
    ("one", "other", "p"),
    [
        (0, 0, 1.0),
        (5, 5, 1.0),
        (1, 0, 1.0),
        (0, 6, 2 / 64),
        (8, 2, 2 * (1 + 10 + 45) / 1024),
        (2, 8, 2 * (1 + 10 + 45) / 1024),
    ],
)
def test_the_exact_mcnemar_test_is_the_binomial_one(one: int, other: int, p: float) -> None:
    assert Discordant(one, other).p == pytest.approx(p)


def test_many_discordant_pairs_do_not_overflow() -> None:
    assert Discordant(1500, 1500).p == 1.0
    assert 0 <= Discordant(1000, 2000).p < 1e-9


def test_only_pairs_that_differ_are_counted() -> None:
    assert discordant([True, True, False, False, True], [True, False, True, False, False]) == Discordant(2, 1)


def test_sides_of_different_length_are_not_paired() -> None:
    with pytest.raises(ValueError, match="shorter"):
        discordant([True], [])
    with pytest.raises(ValueError, match="2 values cannot be compared with 1"):
        ratio([1.0, 2.0], [1.0])


def test_a_ratio_that_all_pairs_share_is_sure() -> None:
    one = ratio([2.0, 4.0, 8.0], [1.0, 2.0, 4.0])
    assert (one.value, one.low, one.high) == (2.0, 2.0, 2.0)


def test_a_ratio_is_of_percentiles_and_not_of_pairs() -> None:
    assert ratio([1.0, 2.0, 9.0], [4.0, 1.0, 1.0]).value == 2.0  # the medians
    assert ratio([1.0, 2.0, 9.0], [4.0, 1.0, 1.0], percentile=100).value == pytest.approx(9 / 4)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 10), st.floats(0.01, 10)), min_size=1, max_size=20))
def test_the_interval_of_a_ratio_is_seeded_and_in_order(pairs: list[tuple[float, float]]) -> None:
    values, others = [a for a, _ in pairs], [b for _, b in pairs]
    one = ratio(values, others, resamples=100)
    assert one == ratio(values, others, resamples=100)
    assert min(values) / max(others) * 0.999 <= one.low <= one.high <= max(values) / min(others) * 1.001


def test_a_distribution_does_not_diverge_from_itself_and_does_from_another() -> None:
    assert divergence([0.5, 0.25, 0.25], [0.5, 0.25, 0.25]) == 0.0
    assert divergence([0.25, 0.75], [0.5, 0.5]) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert divergence([0.25, 0.75], [0.0, 1.0]) == pytest.approx(math.log(4 / 3))  # what never happens costs nothing
