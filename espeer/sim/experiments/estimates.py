"""How sure what was measured is (pure).

Intervals are percentile bootstraps (Efron and Tibshirani 1993) with 10,000 seeded resamples. The same question may have been
asked under several seeds; it is drawn or left out as a whole, or the interval would be too narrow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Final

import numpy as np
from numpy.typing import NDArray

RESAMPLES: Final = 10_000
_SEED: Final = 1
_BINS: Final = 10


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval, and of how many questions (or whatever was drawn) it is."""

    value: float
    low: float
    high: float
    of: int


@dataclass(frozen=True, slots=True)
class Discordant:
    """Questions that two ways to answer do not agree on: so many that only the one, or only the other, is right about."""

    only_one: int
    only_other: int

    @property
    def p(self) -> float:
        """Two-sided p of the exact McNemar test (McNemar 1947; the binomial form of it), which is the sign test.

        It is the chance that pairs as uneven as these come of two ways that are right equally often.
        """
        pairs = self.only_one + self.only_other
        if pairs == 0:
            return 1.0
        tail = sum(comb(pairs, count) for count in range(min(self.only_one, self.only_other) + 1))
        return float(min(1.0, 2 * tail / 2**pairs))


Outcomes = Mapping[str, Sequence[float]]
"""By question, what came of it each time it was asked: 1 right, 0 wrong, or any other figure."""


def mean(outcomes: Outcomes) -> Estimate:
    """Return the mean over all times that something was asked."""
    asked = [values for values in outcomes.values() if values]
    if not asked:
        raise ValueError("there is nothing to measure")
    totals, counts = np.array([sum(values) for values in asked], float), np.array([len(values) for values in asked], float)
    drawn = np.random.default_rng(_SEED).integers(0, len(totals), (RESAMPLES, len(totals)))
    low, high = np.percentile(totals[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [2.5, 97.5])
    return Estimate(float(totals.sum() / counts.sum()), float(low), float(high), len(totals))


def quantile(outcomes: Outcomes, share: float) -> Estimate:
    """Return the value that so great a share (above 0) of all values is not above. What has one key is drawn as a whole."""
    asked = [values for values in outcomes.values() if values]
    if not asked:
        raise ValueError("there is nothing to measure")
    found = resampled_quantiles(asked, share, how_often(len(asked), RESAMPLES))
    low, high = np.percentile(found, [2.5, 97.5])
    value = float(np.quantile(np.concatenate(asked), share))
    return Estimate(value, min(value, float(low)), max(value, float(high)), len(asked))


def how_often(number: int, resamples: int) -> NDArray[np.int64]:
    """Draw so many things as often, with putting back; return how often each was drawn, a row for each resample."""
    return np.random.default_rng(_SEED).multinomial(number, [1 / number] * number, size=resamples)


def resampled_quantiles(asked: Sequence[Sequence[float]], share: float, often: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return a quantile of each resample: the least value that so great a share of the values drawn is not above.

    :param often: of each of ``asked``, how often it was drawn.
    """
    values = np.concatenate([np.asarray(one, float) for one in asked])
    order = np.argsort(values)
    reached = np.cumsum(often[:, np.repeat(np.arange(len(asked)), [len(one) for one in asked])[order]], axis=1)
    places = np.argmax(reached >= share * reached[:, -1:], axis=1)
    return np.asarray(values[order][places], float)


def difference(one: Outcomes, other: Outcomes) -> Estimate:
    """Return how much higher the mean of ``one`` is. Pairs are kept together.

    :raises ValueError: they are not of the same questions, asked equally often.
    """
    _check_paired(one, other)
    return mean({key: [a - b for a, b in zip(one[key], other[key], strict=True)] for key in one})


def discordant(one: Sequence[bool], other: Sequence[bool]) -> Discordant:
    """Count the questions that only one of the two is right about."""
    pairs = list(zip(one, other, strict=True))
    return Discordant(sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs))


def apart(one: Outcomes, other: Outcomes) -> Discordant:
    """Count the questions that one of the two is more often right about, each once: times of one question are no new evidence.

    :raises ValueError: as :func:`difference`.
    """
    _check_paired(one, other)
    gains = [sum(one[key]) - sum(other[key]) for key in one]
    return discordant([gain > 0 for gain in gains], [gain < 0 for gain in gains])


def calibration_error(confidences: Sequence[float], right: Sequence[bool]) -> float:
    """Return the expected calibration error over 10 bins of equal width (Naeini et al. 2015), 0 to 1."""
    if not confidences:
        raise ValueError("there is nothing to measure")
    sure, hit = np.asarray(confidences, float), np.asarray(right, float)
    place = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    gaps = [abs(sure[place == one].sum() - hit[place == one].sum()) for one in range(_BINS)]
    return float(sum(gaps) / len(sure))


def _check_paired(one: Outcomes, other: Outcomes) -> None:
    if one.keys() != other.keys() or any(len(one[key]) != len(other[key]) for key in one):
        raise ValueError("what is compared must be of the same questions")
