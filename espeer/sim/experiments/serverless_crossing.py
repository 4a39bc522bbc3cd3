"""Where the one deployment becomes better than the other (pure).

A figure of both is known at some values of what is varied, such as the delay. Between these it is taken to change evenly.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from espeer.sim.experiments.estimates import Estimate, how_often, resampled_quantiles

_RESAMPLES: Final = 2_000


def crossing(x: Sequence[float], gains: Sequence[float]) -> float | None:
    """Return the least value from which on there is a gain, up to the last; None where there is none at the last.

    :param x: ascending.
    :param gains: how much better the one is than the other at each.
    """
    if gains[-1] <= 0:
        return None
    place = len(gains) - 1
    while place > 0 and gains[place - 1] > 0:
        place -= 1
    if place == 0:
        return x[0]
    below, above = gains[place - 1], gains[place]
    return x[place - 1] + (x[place] - x[place - 1]) * -below / (above - below)


def crossing_of_medians(
    x: Sequence[float], one: Sequence[Sequence[Sequence[float]]], other: Sequence[Sequence[Sequence[float]]]
) -> Estimate | None:
    """Return from which value on the median of ``one`` is the lower, with its 95 % interval; None where it is not at the last.

    :param one, other: what was measured at each value, by volley; the same questions in the same order. Volleys are drawn as a
        whole, for the interval.
    """
    whole = crossing(x, [_median(b) - _median(a) for a, b in zip(one, other, strict=True)])
    if whole is None:
        return None
    resampled = []
    for a, b in zip(one, other, strict=True):
        often = how_often(len(a), _RESAMPLES)
        resampled.append(resampled_quantiles(b, 0.5, often) - resampled_quantiles(a, 0.5, often))
    found = [crossing(x, [float(gains[number]) for gains in resampled]) for number in range(_RESAMPLES)]
    low, high = np.percentile([x[-1] if value is None else value for value in found], [2.5, 97.5])
    return Estimate(whole, min(whole, float(low)), max(whole, float(high)), min(map(len, one)))


def _median(volleys: Sequence[Sequence[float]]) -> float:
    return float(np.median(np.concatenate([np.asarray(one, float) for one in volleys])))


def breaks_even(fixed_of_one: float, per_use_of_one: float, fixed_of_other: float, per_use_of_other: float) -> float | None:
    """Return after how many uses the one has cost no more than the other; None where that is never."""
    if fixed_of_one <= fixed_of_other and per_use_of_one <= per_use_of_other:
        return 0.0
    if per_use_of_one >= per_use_of_other:
        return None
    return (fixed_of_one - fixed_of_other) / (per_use_of_other - per_use_of_one)
