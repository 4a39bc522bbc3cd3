"""Where the one deployment becomes better than the other (pure).

A figure of both is known at some values of what is varied, such as the delay. Between these it is taken to change evenly.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from espeer.sim.experiments.estimates import Estimate

_RESAMPLES: Final = 2_000
_SEED: Final = 1


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
    x: Sequence[float], one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]
) -> Estimate | None:
    """Return from which value on the median of ``one`` is the lower, with its 95 % interval; None where it is not at the last.

    :param one, other: what was measured at each value; the same questions in the same order. These are drawn, for the interval.
    """
    whole = crossing(x, [float(np.median(b) - np.median(a)) for a, b in zip(one, other, strict=True)])
    if whole is None:
        return None
    rng = np.random.default_rng(_SEED)
    resampled = [np.zeros(_RESAMPLES) for _ in x]
    for place, (a, b) in enumerate(zip(one, other, strict=True)):
        drawn = rng.integers(0, len(a), (_RESAMPLES, len(a)))
        resampled[place] = np.median(np.asarray(b)[drawn], axis=1) - np.median(np.asarray(a)[drawn], axis=1)
    found = [crossing(x, [float(gains[number]) for gains in resampled]) for number in range(_RESAMPLES)]
    low, high = np.percentile([x[-1] if value is None else value for value in found], [2.5, 97.5])
    return Estimate(whole, float(low), float(high), min(map(len, one)))


def breaks_even(fixed_of_one: float, per_use_of_one: float, fixed_of_other: float, per_use_of_other: float) -> float | None:
    """Return after how many uses the one has cost no more than the other; None where that is never."""
    if fixed_of_one <= fixed_of_other and per_use_of_one <= per_use_of_other:
        return 0.0
    if per_use_of_one >= per_use_of_other:
        return None
    return (fixed_of_one - fixed_of_other) / (per_use_of_other - per_use_of_one)
