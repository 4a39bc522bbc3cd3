"""What espeer asks of a language model, and the values that go in and come out.

A model is synchronous and not thread-safe: :class:`espeer.llm.engine.Engine` calls it from one thread at a time. Contents of
messages are plain text: a model must never read a chat-template token in them as a special token.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Checkpoint = Callable[[], None]
"""Called between steps of at most a few hundred milliseconds; raises to stop the work."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation that the assistant is to continue.

    :ivar messages: the turns so far; the last is the user's.
    :ivar opening: the first words of the assistant's reply, put into its mouth; the generated text goes on from there.
    """

    messages: tuple[Message, ...]
    opening: str = ""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to continue a prompt.

    :ivar max_tokens: the most tokens to generate.
    :ivar temperature: 0 picks the likeliest token every time.
    :ivar seed: for a temperature above 0.
    :ivar stop: texts that end the answer; they are not part of it.
    :ivar grammar: GBNF (llama.cpp's grammar language) that the answer must follow from its first character; rule ``root``.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    grammar: str | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """How likely a continuation is: the sum of its tokens' natural log-probabilities, and how many tokens it has."""

    logprob: float
    tokens: int

    @property
    def per_token(self) -> float:
        """Mean log-probability of a token: comparable between continuations of different length."""
        return self.logprob / max(self.tokens, 1)


class Model(Protocol):
    """A loaded language model."""

    @property
    def name(self) -> str:
        """Short name that goes into records, such as ``smollm2-135m-instruct.q4_1``."""

    @property
    def digest(self) -> str:
        """SHA-256 of the weights, hexadecimal: the key of everything measured about this model."""

    @property
    def context(self) -> int:
        """The most tokens that a prompt and its answer may have together."""

    def count(self, text: str) -> int:
        """Number of tokens of ``text``."""

    def size(self, prompt: Prompt) -> int:
        """Number of tokens of ``prompt``, chat template included."""

    def generate(self, prompt: Prompt, sampling: Sampling, checkpoint: Checkpoint) -> Iterator[str]:
        """Yield the answer in pieces of text, each valid Unicode.

        :raises PromptTooLong: the prompt and ``max_tokens`` do not fit the context.
        """

    def score(self, prompt: Prompt, continuations: Sequence[str], checkpoint: Checkpoint) -> list[Score]:
        """How likely each continuation is after the prompt. The prompt is evaluated once.

        :raises PromptTooLong: the prompt and the continuations do not fit the context.
        """

    def close(self) -> None:
        """Free the memory. The model cannot be used any more."""
