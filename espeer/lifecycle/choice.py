"""Multiple choice: which of several answers a model finds likeliest (pure).

A small model asked for a letter says the same letter to everything, but it does find the right answer's words likelier than
those of the others. A large one knows what a letter stands for. :mod:`espeer.lifecycle.calibration` measures which a model is.
"""

import math
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Final, Literal

from espeer.llm.model import Score

Method = Literal["letter", "text"]
"""What is scored: the letter before a choice, or the choice's own words."""

LETTERS: Final = ascii_uppercase
MIN_CHOICES: Final = 2
MAX_CHOICES: Final = len(LETTERS)
"""As many as there are letters."""


def pick(scores: Sequence[Score], method: Method) -> tuple[int, list[float]]:
    """The likeliest choice's index (the first, of equals), and each choice's share of the probability; the shares add up to 1.

    Texts are compared by their mean token, or the shortest would win; the shares then are of that mean.

    :param scores: of the continuations that :func:`espeer.lifecycle.prompts.choose` gave; at least one.
    """
    values = [score.logprob if method == "letter" else score.per_token for score in scores]
    highest = max(values)
    weights = [math.exp(value - highest) for value in values]
    total = sum(weights)
    return values.index(highest), [weight / total for weight in weights]
