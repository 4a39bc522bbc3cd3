"""Other ways to ask a model for a lesson, or for one note in place of several: what the ablation compares (pure).

Each differs from what espeer uses in as little as can be: without its examples, with a task or examples of another field, in
another form, or with another episode.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from espeer.lifecycle.prompts import CONDENSE, DISTIL, Manner, listed

CURRENT: Final = "current"
"""What espeer uses."""
QUOTED: Final = "quoted"
"""No model: the experience is put together from the episode's own sentences."""

_FACT: Final = (
    "You turn a question and what came of it into one sentence that states the fact and names its subject. "
    "Copy every code, number and name exactly."
)
_FACTS: Final = (
    (
        """Report: Which metal is liquid at room temperature?
Outcome: Mercury. It melts at -39 degrees.""",
        "Mercury is the metal that is liquid at room temperature, since it melts at -39 degrees.",
    ),
    (
        """Report: What keeps the planets in their orbits?
Tried: Magnetism.
Outcome: The gravity of the Sun.""",
        "The gravity of the Sun keeps the planets in their orbits.",
    ),
)
_ASKED: Final = "You turn a report into one question and its answer, on one line. Copy every code, number and name exactly."
_ANSWERED: Final = tuple(
    (given, f"Q: {question} A: {answer}")
    for (given, _), (question, answer) in zip(
        DISTIL.examples,
        (
            (
                "What helps when the Orla-2 dryer stops with K11 after its lid was opened?",
                "Press the lid switch for 5 seconds.",
            ),
            (
                "What helps when the Brunt printer shows PX-9 and pages are striped?",
                "Wipe the copper roller with dry felt.",
            ),
        ),
        strict=True,
    )
)
_MERGED_FACTS: Final = (
    (
        listed(
            (
                "Mercury is the metal that is liquid at room temperature.",
                "Which metal is liquid at room temperature? Mercury, since it melts at -39 degrees.",
            )
        ),
        "Mercury is the metal that is liquid at room temperature, since it melts at -39 degrees.",
    ),
    (
        listed(
            (
                "The gravity of the Sun keeps the planets in their orbits.",
                "What keeps the planets in their orbits: the Sun's gravity.",
                "Planets stay in their orbits by the gravity of the Sun, not by magnetism.",
            )
        ),
        "The gravity of the Sun, not magnetism, keeps the planets in their orbits.",
    ),
)
_SHORT: Final = "You merge notes on the same matter into the shortest sentence that keeps every code, number and name."


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to make an experience of a question that was told right or wrong.

    :ivar manner: how the model is asked; None for no model.
    :ivar wrong: tell it what was answered wrongly, too.
    """

    manner: Manner | None
    wrong: bool = False


DISTILLING: Final[Mapping[str, Variant]] = {
    CURRENT: Variant(DISTIL),
    "zero-shot": Variant(Manner(DISTIL.task)),
    "sentence": Variant(Manner(_FACT)),
    "facts": Variant(Manner(_FACT, _FACTS)),
    "question-answer": Variant(Manner(_ASKED, _ANSWERED)),
    "wrong-told": Variant(DISTIL, wrong=True),
    "held": Variant(replace(DISTIL, held=True)),
    QUOTED: Variant(None),
}
"""The variants of distillation. "sentence" is "facts" without the examples."""

CONDENSING: Final[Mapping[str, Manner | None]] = {
    CURRENT: CONDENSE,
    "zero-shot": Manner(CONDENSE.task),
    "facts": Manner(CONDENSE.task, _MERGED_FACTS),
    "short": Manner(_SHORT, CONDENSE.examples),
    "held": replace(CONDENSE, held=True),
    QUOTED: None,
}
"""Those of condensation."""
