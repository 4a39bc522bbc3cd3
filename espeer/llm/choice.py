"""Multiple choice: ask a model which of several answers it finds likeliest (pure).

A small model asked for a letter says the same letter to everything, but it does find the right answer's words likelier than
those of the others. A large one knows what a letter stands for. :mod:`espeer.llm.calibration` measures which a model is.
"""

import math
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Final, Literal

from espeer.llm.model import Message, Prompt, Score

Method = Literal["letter", "text"]
"""What is scored: the letter before a choice, or the choice's own words."""

MAX_CHOICES: Final = len(ascii_uppercase)

_SYSTEM: Final[dict[Method, str]] = {
    "text": "Answer the question in a few words, from the notes of what others learnt.",
    "letter": "Answer the question with the letter of the right choice, from the notes of what others learnt.",
}
_OPENING: Final = "Answer:"


def choice_prompt(
    question: str, choices: Sequence[str], passages: Sequence[str], method: Method
) -> tuple[Prompt, tuple[str, ...]]:
    """The prompt, and the continuations of it to score, one for each choice.

    :param choices: for ``letter`` at most :data:`MAX_CHOICES`.
    :param passages: what was recalled for the question.
    """
    lines = ["Notes:", *(f"- {passage}" for passage in passages), ""] if passages else []
    lines.append(f"Question: {question}")
    continuations = tuple(f" {choice}" for choice in choices)
    if method == "letter":
        letters = ascii_uppercase[: len(choices)]
        lines += [f"{letter}. {choice}" for letter, choice in zip(letters, choices, strict=True)]
        continuations = tuple(f" {letter}" for letter in letters)
    messages = (Message("system", _SYSTEM[method]), Message("user", "\n".join(lines)))
    return Prompt(messages, _OPENING), continuations


def pick(scores: Sequence[Score], method: Method) -> tuple[int, list[float]]:
    """The likeliest choice's index (the first, of equals), and each choice's share of the probability; the shares add up to 1.

    Texts are compared by their mean token, or the shortest would win; the shares then are of that mean.

    :param scores: of the continuations that :func:`choice_prompt` gave; at least one.
    """
    values = [score.logprob if method == "letter" else score.per_token for score in scores]
    highest = max(values)
    weights = [math.exp(value - highest) for value in values]
    total = sum(weights)
    return values.index(highest), [weight / total for weight in weights]
