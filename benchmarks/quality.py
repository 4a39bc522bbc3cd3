"""How good a ranking is, and how sure a difference between two is (pure)."""

import math
from collections.abc import Mapping, Sequence
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


def ndcg(ranking: Sequence[str], gains: Mapping[str, float], depth: int = 10) -> float:
    """Return the normalised discounted cumulative gain as trec_eval's ndcg_cut: the sum of gain / log2(rank + 1).

    :param ranking: documents, best first.
    :param gains: document -> gain; of one that is not there, 0.
    """
    best = _discounted(sorted(gains.values(), reverse=True)[:depth])
    return _discounted([gains.get(document, 0.0) for document in ranking[:depth]]) / best if best else 0.0


def recall(ranking: Sequence[str], gains: Mapping[str, float], depth: int = 5) -> float:
    """Return the share of the documents with a gain that is among the first ``depth``."""
    wanted = {document for document, gain in gains.items() if gain > 0}
    return len(wanted.intersection(ranking[:depth])) / len(wanted) if wanted else 0.0


def difference(values: Sequence[float], others: Sequence[float], *, resamples: int = 10_000, seed: int = 1) -> Difference:
    """Return ``values`` less ``others``, query by query, with the percentile interval of a paired bootstrap."""
    differences = np.subtract(values, others)
    drawn = np.random.default_rng(seed).integers(0, len(differences), (resamples, len(differences)))
    low, high = np.percentile(differences[drawn].mean(axis=1), [2.5, 97.5])
    return Difference(float(differences.mean()), float(low), float(high))


def _discounted(gains: Sequence[float]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))
