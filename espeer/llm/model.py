"""What espeer asks of a language model, and the values that go in and come out.

A model is synchronous. It works on several requests at once, in steps: :class:`espeer.llm.engine.Engine` says which of them
each step is for. All calls come from one thread at a time, but for ``count``, ``size``, ``statistics`` and ``interrupt``, which
any thread may make at any time. Contents of messages are plain text: a model must never read a chat-template token in them as a
special token.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Finish = Literal["stop", "length", "loop"]
"""Why an answer ended: by itself or at a stop text, at ``max_tokens``, or because it said the same again and again."""


@dataclass(frozen=True, slots=True)
class Note:
    """A part of a message that comes back in other prompts, such as a recalled experience.

    A model may keep what it worked out for a note, by the note's id, and use it in any prompt that begins with the same words.

    :ivar id: stands for the text for ever: notes with the same id have the same text. Up to a colon it says what the text is
        from.
    :ivar text: with the line break that ends it.
    """

    id: str
    text: str


def source_of(note: str) -> str:
    """Return what the note of that id is from."""
    return note.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    :ivar content: what is said; where there are notes, what is said after them.
    :ivar lead: what is said before the notes. It is not the question's: it is the same in all prompts of a kind.
    :ivar notes: what others learnt. A model need not let one of them see the others.
    """

    role: Literal["system", "user", "assistant"]
    content: str
    lead: str = ""
    notes: tuple[Note, ...] = ()

    @property
    def text(self) -> str:
        """The whole turn."""
        return "".join((self.lead, *(note.text for note in self.notes), self.content))


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation that the assistant is to continue.

    :ivar messages: the turns so far; the last is the user's. At most one of them has notes.
    :ivar opening: the first words of the assistant's reply, put into its mouth; the generated text goes on from there.
    :ivar shared: so many of the first messages are the same in all prompts of a kind: a task, and examples of it. A model keeps
        what it worked out for them. None: the system messages that it begins with.
    """

    messages: tuple[Message, ...]
    opening: str = ""
    shared: int | None = None


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


class Run(Protocol):
    """One request that a model works on. It goes on only in :meth:`Model.step`."""

    @property
    def done(self) -> bool:
        """Whether nothing is left to do, or it failed."""

    @property
    def error(self) -> Exception | None:
        """What it failed of."""

    def take(self) -> str:
        """The text that came since the last call; valid Unicode, may be empty. Only a generation has any."""

    @property
    def finish(self) -> Finish | None:
        """Why the answer ended; None before it has."""

    @property
    def scores(self) -> list[Score]:
        """Of the continuations, in their order, once a scoring is done."""

    def close(self) -> None:
        """Give back the room it takes. It cannot go on after that. Closing again does nothing."""


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

    @property
    def width(self) -> int:
        """The most runs that it is worth bringing on in one step."""

    def count(self, text: str) -> int:
        """Number of tokens of ``text``."""

    def size(self, prompt: Prompt) -> int:
        """Number of tokens of ``prompt``, chat template included; where notes take up more room than that, the room."""

    def generate(self, prompt: Prompt, sampling: Sampling) -> Run:
        """Begin an answer. Nothing is evaluated before the first step.

        :raises PromptTooLong: the prompt and ``max_tokens`` do not fit the context.
        :raises ModelError: the grammar cannot be parsed.
        """

    def score(self, prompt: Prompt, continuations: Sequence[str]) -> Run:
        """Begin to find out how likely each continuation is after the prompt. The prompt is evaluated once.

        :raises PromptTooLong: the prompt and the longest continuation do not fit the context.
        """

    def warm(self, prompt: Prompt, ranks: int) -> Run:
        """Begin to work out what can be kept of a prompt: its beginning, and its notes.

        :param ranks: each note is kept for being the first, second and so on of so many notes.
        """

    def is_warm(self, prompt: Prompt, ranks: int) -> bool:
        """Whether :meth:`warm` would have nothing to do. To ask is to use what is kept: it is forgotten the later."""

    def forget(self, notes: Collection[str]) -> None:
        """Drop what is kept of notes, in memory and on disk. A run at work may bring it back.

        :param notes: what they are from: their ids up to the colon.
        """

    def step(self, runs: Sequence[Run]) -> None:
        """Bring runs on by one evaluation, the first ones first; those there is no room for wait.

        What goes wrong becomes the ``error`` of the runs that it concerns. Runs that are not among ``runs`` keep what they
        have, unless the room is needed: then it is worked out again when their turn comes. There is always one run that goes
        on, or fails.
        """

    def interrupt(self) -> None:
        """End the step at work early, if there is one, or else the next; its runs lose that step. Returns at once."""

    def statistics(self) -> dict[str, Any]:
        """What its caches hold and how often they were of use, for people to read; names and numbers."""

    def close(self) -> None:
        """Free the memory. The model cannot be used any more."""
