"""How sure a measured ratio is, and how far one distribution is from another (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Ratio:
    """A percentile of one side's times over the same percentile of the other's, with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return the interval, for a note beside the value."""
        return f"95 % of resamples {self.low:.3g} to {self.high:.3g}"


def ratio(
    values: Sequence[float], others: Sequence[float], *, percentile: float = 50, resamples: int = 10_000, seed: int = 1
) -> Ratio:
    """Compare two sides that did the same things; the interval is that of a paired percentile bootstrap.

    :param values: of one side, one for each thing.
    :param others: of the other, above 0, in the same order.
    """
    if len(values) != len(others) or not values:
        raise ValueError(f"{len(values)} values cannot be compared with {len(others)}")
    one, other = np.asarray(values), np.asarray(others)
    drawn = np.random.default_rng(seed).integers(0, len(one), (resamples, len(one)))
    ratios = np.percentile(one[drawn], percentile, axis=1) / np.percentile(other[drawn], percentile, axis=1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return Ratio(float(np.percentile(one, percentile) / np.percentile(other, percentile)), float(low), float(high))


def divergence(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the Kullback-Leibler divergence of one distribution from another, in nats.

    :param ours: what stands in for ``theirs``; nowhere 0.
    """
    wanted, given = np.asarray(theirs), np.asarray(ours)
    some = wanted > 0
    return float(np.sum(wanted[some] * np.log(wanted[some] / given[some])))
