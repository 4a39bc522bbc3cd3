import numpy as np
from numpy.typing import NDArray

from espeer.postings import Numbers

def accumulate(
    scores: NDArray[np.float64],
    lengths: NDArray[np.float64],
    flat: float,
    slope: float,
    ones: list[Numbers],
    more: list[Numbers],
    occurrences: list[Numbers],
    weights: list[float],
    /,
) -> None: ...
def count(hits: NDArray[np.int32], parts: list[Numbers], /) -> None: ...
