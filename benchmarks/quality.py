"""How sure a difference between two rankings, or two ways to answer, is (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of one ranking's values less that of another, with its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def difference(values: Sequence[float], others: Sequence[float], *, resamples: int = 10_000, seed: int = 1) -> Difference:
    """Return ``values`` less ``others``, query by query, with the percentile interval of a paired bootstrap."""
    differences = np.subtract(values, others)
    drawn = np.random.default_rng(seed).integers(0, len(differences), (resamples, len(differences)))
    low, high = np.percentile(differences[drawn].mean(axis=1), [2.5, 97.5])
    return Difference(float(differences.mean()), float(low), float(high))
