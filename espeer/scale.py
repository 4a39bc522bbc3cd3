"""How alike two experiences are, and on what scale (pure)."""

import math
from typing import Literal

from espeer.errors import InputError

Scale = Literal["normalised", "raw"]
"""With s(a, b) for the BM25 score of text b when text a is the query, and the lesser of both directions:

- "raw" is min(s(a, b), s(b, a)), the paper's scale: it grows with the length of the texts and with the corpus.
- "normalised" is min(s(a, b) / s(a, a), s(b, a) / s(b, b)), 0 to 1, whatever their length. Of the corpus only the terms'
  relative weights enter.
"""


def check_threshold(threshold: float, scale: Scale) -> None:
    """See that a threshold can be one on that scale.

    :raises InputError: it cannot.
    """
    if scale == "normalised" and not 0 < threshold <= 1:
        raise InputError("the threshold must be above 0 and at most 1 on the normalised scale")
    if scale == "raw" and not 1 <= threshold < math.inf:
        raise InputError("the threshold must be at least 1 on the raw scale; the paper's is 100")
