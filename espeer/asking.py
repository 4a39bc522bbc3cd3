"""How a question is to be answered (pure)."""

from dataclasses import dataclass
from typing import Final, Literal

from espeer.errors import InputError
from espeer.llm.model import Finish

Ending = Finish | Literal["time"]
"""Why an answer ended: as :data:`espeer.llm.model.Finish`, or because its time was over."""

MAX_COUNT: Final = 1_000_000
"""The most experiences or runs that can be asked for at a time."""

MAX_ANSWER: Final = 1_000_000
MAX_TEMPERATURE: Final = 10.0
MAX_SEED: Final = 2**32 - 2  # llama.cpp takes 32 bits, and the highest number for "any"
MAX_STOPS: Final = 16
MAX_STOP: Final = 256
MAX_SECONDS: Final = 24 * 60 * 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AskOptions:
    """What can be chosen for one question. The default is the likeliest answer, of the node's usual length.

    :ivar max_tokens: the most tokens of the answer; None for the node's setting. Where the model's context has no room for so
        many, it is as many as there is room for.
    :ivar temperature: 0 picks the likeliest token every time, and 1 picks tokens as often as they are likely.
    :ivar seed: for a temperature above 0: the same seed gives the same answer; None for another one each time.
    :ivar stop: texts that end the answer; they are not part of it.
    :ivar timeout: seconds that the answer may take; then it ends with what is there. None for the node's setting.
    :ivar grammar: the form that the answer is held to: :attr:`espeer.llm.grammar.JsonSchema.grammar`, or other GBNF of a source
        that is trusted, for llama.cpp is not safe from every grammar.
    :ivar capture: keep the question and its answer on the node's disk, so that feedback can be given to it. Where the node's
        own setting says no, nothing is kept.
    :raises InputError: an option is out of bounds.
    """

    max_tokens: int | None = None
    temperature: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    timeout: float | None = None
    grammar: str | None = None
    capture: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be done, with the option's name."""
        if self.max_tokens is not None and not 1 <= self.max_tokens <= MAX_ANSWER:
            raise InputError(f"max-tokens is {self.max_tokens}; give 1 to {MAX_ANSWER:,}")
        if not 0 <= self.temperature <= MAX_TEMPERATURE:
            raise InputError(f"temperature is {self.temperature:g}; give 0 (always the likeliest) to {MAX_TEMPERATURE:g}")
        if self.seed is not None and not 0 <= self.seed <= MAX_SEED:
            raise InputError(f"seed is {self.seed}; give 0 to {MAX_SEED:,}")
        if isinstance(self.stop, str) or len(self.stop) > MAX_STOPS:
            raise InputError(f"stop: give up to {MAX_STOPS} texts")
        if any(not 0 < len(text) <= MAX_STOP for text in self.stop):
            raise InputError(f"a text to stop at has 1 to {MAX_STOP} characters")
        if self.timeout is not None and not 0 < self.timeout <= MAX_SECONDS:
            raise InputError(f"timeout is {self.timeout:g}; give a number of seconds above 0, up to {MAX_SECONDS:,.0f}")


def count(least: int, value: int, name: str) -> int:
    """Return how many of something are asked for.

    :raises InputError: they are too many, or too few.
    """
    if not least <= value <= MAX_COUNT:
        raise InputError(f"{name} is {value}; give {least} to {MAX_COUNT:,}")
    return value
