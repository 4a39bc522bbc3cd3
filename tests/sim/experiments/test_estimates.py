"""Intervals and tests: against what is known by hand, and for every input."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espeer.sim.experiments.estimates import Discordant, apart, calibration_error, difference, discordant, mean, quantile
from espeer.sim.experiments.report import paired, shown

OUTCOMES = st.dictionaries(
    st.text(max_size=4), st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=4), min_size=1, max_size=30
)


def test_the_interval_of_a_share_is_about_the_binomial_one() -> None:
    estimate = mean({str(number): [float(number < 50)] for number in range(100)})
    assert estimate.value == 0.5
    assert estimate.low == pytest.approx(0.40, abs=0.02)
    assert estimate.high == pytest.approx(0.60, abs=0.02)


def test_asking_the_same_questions_again_makes_nothing_surer() -> None:
    once = {str(number): [float(number % 3 == 0)] for number in range(60)}
    thrice = {key: values * 3 for key, values in once.items()}
    assert (mean(once).low, mean(once).high) == (mean(thrice).low, mean(thrice).high)


@given(OUTCOMES)
def test_a_mean_lies_in_its_interval(outcomes: dict[str, list[float]]) -> None:
    estimate = mean(outcomes)
    assert 0 <= estimate.low <= estimate.high <= 1
    assert estimate.low - 1e-9 <= estimate.value <= estimate.high + 1e-9 or estimate.of < 10


@given(OUTCOMES)
def test_nothing_differs_from_itself(outcomes: dict[str, list[float]]) -> None:
    estimate = difference(outcomes, outcomes)
    assert (estimate.value, estimate.low, estimate.high) == (0, 0, 0)


def test_what_is_paired_is_compared_in_pairs() -> None:
    one = {str(number): [1.0 if number % 2 else 0.0] for number in range(40)}
    other = {key: [0.0] if key == "1" else values for key, values in one.items()}
    gain = difference(one, other)
    assert gain.value == pytest.approx(1 / 40)
    assert gain.low == 0
    with pytest.raises(ValueError, match="same questions"):
        difference(one, {"1": [1.0]})


def test_a_quantile_is_the_surer_the_more_was_drawn_and_not_the_more_came_together() -> None:
    alone = {str(number): [float(number)] for number in range(100)}
    together = {str(number): [float(one) for one in range(100) if one // 10 == number] for number in range(10)}
    one, other = quantile(alone, 0.5), quantile(together, 0.5)
    assert (one.value, one.of) == (other.value, 10 * other.of) == (49.5, 100)
    assert one.low == pytest.approx(40, abs=2)
    assert one.high == pytest.approx(60, abs=2)
    assert other.high - other.low > 2 * (one.high - one.low)


def test_mcnemar_is_the_binomial_test() -> None:
    apart = discordant([True] * 8 + [False] * 2, [False] * 8 + [True] * 2)
    assert (apart.only_one, apart.only_other) == (8, 2)
    assert apart.p == pytest.approx(2 * sum(math.comb(10, n) for n in range(3)) / 2**10)
    assert discordant([True], [True]).p == 1


def test_a_question_that_was_asked_often_counts_once_in_the_test() -> None:
    one, other = {"a": [1.0] * 9, "b": [0.0, 1.0], "c": [0.0]}, {"a": [0.0] * 9, "b": [1.0, 0.0], "c": [1.0]}
    assert apart(one, other) == Discordant(1, 1)
    assert paired(one, other)[1:] == ("1 / 1", "1.000")
    with pytest.raises(ValueError, match="same questions"):
        apart(one, {"a": [1.0]})


def test_what_is_all_alike_is_not_shown_as_sure() -> None:
    assert shown(mean({"a": [1.0], "b": [1.0]})) == "1.000 (2, all alike)"
    assert shown(mean({"a": [0.5]})) == "0.500 (of one)"
    assert paired({str(n): [1.0] for n in range(20)}, {str(n): [0.0] for n in range(20)})[2] == "< 0.001"


def test_calibration() -> None:
    assert calibration_error([0.75] * 4, [True, True, True, False]) == pytest.approx(0)
    assert calibration_error([1.0, 1.0], [False, False]) == 1
    with pytest.raises(ValueError, match="nothing"):
        calibration_error([], [])
