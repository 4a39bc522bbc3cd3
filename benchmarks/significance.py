"""How sure a measured ratio is, and whether one way to answer is right more often than another (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

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


@dataclass(frozen=True, slots=True)
class Discordant:
    """Questions that two ways to answer do not agree on: so many that only the one, or only the other, is right about."""

    only_one: int
    only_other: int

    @property
    def p(self) -> float:
        """Two-sided p of the exact McNemar test (McNemar 1947; the binomial form of it).

        It is the chance that pairs as uneven as these come of two ways that are right equally often.
        """
        pairs = self.only_one + self.only_other
        if pairs == 0:
            return 1.0
        tail = sum(comb(pairs, count) for count in range(min(self.only_one, self.only_other) + 1))
        return min(1.0, 2 * tail / 2**pairs)


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


def discordant(one: Sequence[bool], other: Sequence[bool]) -> Discordant:
    """Count the questions that only one of the two is right about."""
    pairs = list(zip(one, other, strict=True))
    return Discordant(sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs))


def divergence(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the Kullback-Leibler divergence of one distribution from another, in nats.

    :param ours: what stands in for ``theirs``; nowhere 0.
    """
    wanted, given = np.asarray(theirs), np.asarray(ours)
    some = wanted > 0
    return float(np.sum(wanted[some] * np.log(wanted[some] / given[some])))
