"""Rankings by vectors, and what a vector takes to keep (pure)."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""A vector in each row."""

_FUSION: Final = 60
"""The constant of reciprocal rank fusion, as its authors chose it."""
_INT8: Final = 127


def centred(vectors: Vectors, mean: Vectors) -> Vectors:
    """Take off a mean, and bring to length 1: see :mod:`espeer.llm.embedding`."""
    moved = vectors - mean
    return np.asarray(moved / np.linalg.norm(moved, axis=-1, keepdims=True).clip(1e-9), np.float32)


def in_int8(vectors: Vectors) -> Vectors:
    """Return what is left of vectors that were kept as whole numbers of a byte and one scale for each vector."""
    scale = np.abs(vectors).max(axis=-1, keepdims=True).clip(1e-9) / _INT8
    return np.asarray(np.round(vectors / scale) * scale, np.float32)


def nearest(query: Vectors, vectors: Vectors, depth: int) -> list[int]:
    """Return the rows that point most in the query's direction, best first; of equals the first."""
    scores = vectors @ query
    return [int(row) for row in np.argsort(-scores, kind="stable")[:depth]]


def fused(rankings: Sequence[Sequence[str]], depth: int) -> list[str]:
    """Put rankings together by reciprocal rank fusion (Cormack, Clarke and Büttcher 2009)."""
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, key in enumerate(ranking, 1):
            scores[key] = scores.get(key, 0.0) + 1 / (_FUSION + rank)
    return sorted(scores, key=lambda key: (-scores[key], key))[:depth]
