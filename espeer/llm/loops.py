"""Small models fall into saying the same thing for ever; this notices (pure)."""

from collections.abc import Sequence
from typing import Final

REPEATS: Final = 3
"""A run of tokens said this many times in a row is a loop."""
MIN_TOKENS: Final = 12
"""A loop has at least this many tokens: "0.000" and "very very very" are none."""
MAX_RUN: Final = 40


def is_looping(tokens: Sequence[int]) -> bool:
    """Return whether the tokens end with the same run said again and again."""
    for run in range(1, MAX_RUN + 1):
        length = max(REPEATS * run, -(-MIN_TOKENS // run) * run)
        if length > len(tokens):
            continue
        end = tokens[len(tokens) - length :]
        if end[run:] == end[:-run]:
            return True
    return False
