"""The inner loops of :mod:`espeer.bm25`: what every posting adds to its document (pure).

Compiled (``espeer/_scoring.c``) wherever there was a C compiler at installation, and with numpy elsewhere: the same sums to
within rounding, several times slower.
"""

import numpy as np
from numpy.typing import NDArray

from espeer.postings import Numbers, joined

__all__ = ["Floats", "accumulate", "accumulate_with_numpy", "count", "count_with_numpy"]

Floats = NDArray[np.float64]


def accumulate_with_numpy(  # noqa: PLR0917 - the form of the compiled one, which takes no keywords
    scores: Floats,
    lengths: Floats,
    flat: float,
    slope: float,
    ones: list[Numbers],
    more: list[Numbers],
    occurrences: list[Numbers],
    weights: list[float],
) -> None:
    """Add to the scores what some terms bring: ``weight * tf / (tf + flat + slope * length)`` for each of their postings.

    :param scores: by slot; changed.
    :param lengths: by slot, the document's number of terms.
    :param ones, more, occurrences: of the terms, see :class:`espeer.postings.Postings`; at least one term.
    :param weights: of the terms.
    """
    for slots, tfs in ((ones, None), (more, occurrences)):
        which = joined(slots, np.uint32)
        sizes = [len(np.frombuffer(part, np.uint32)) for part in slots]
        tf = 1 if tfs is None else joined(tfs, np.uint16).astype(np.float64)
        added = np.repeat(weights, sizes) * (tf / (tf + flat + slope * lengths[which]))
        scores += np.bincount(which, added, minlength=len(scores))


def count_with_numpy(hits: NDArray[np.int32], parts: list[Numbers]) -> None:
    """Count in ``hits``, by slot, how many of the lists of slots hold it."""
    hits += np.bincount(joined(parts, np.uint32), minlength=len(hits)).astype(np.int32)


try:
    from espeer._scoring import accumulate, count
except ImportError:  # there was no C compiler
    accumulate, count = accumulate_with_numpy, count_with_numpy
