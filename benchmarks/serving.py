"""What the measurements of the engine have in common: the cases, a model that is watched, and turns in a random order."""

import hashlib
import random
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import trio

from benchmarks import questions
from benchmarks.llama_rival import Rival
from benchmarks.questions import Material
from espeer.lifecycle import prompts
from espeer.llm.chat import Chat
from espeer.llm.engine import Engine
from espeer.llm.model import Model, Note, Prompt, Sampling

K = 4
"""Experiences in a prompt."""
WARM_UP = 2
"""The first cases, which are measured and do not count."""

_REST = 0.01
_SEED = 1


@dataclass(frozen=True, slots=True)
class Case:
    """A question with what was recalled for it.

    :ivar notes: texts that no other case has.
    """

    question: str
    notes: tuple[str, ...]

    @property
    def asked(self) -> Prompt:
        """The question with the notes."""
        return prompts.ask(self.question, noted(self.notes))

    @property
    def plain(self) -> Prompt:
        """The question alone."""
        return prompts.ask(self.question, [])


class Watched:
    """A model of which one can tell when it worked.

    :ivar ended: when the last step ended, in seconds of ``time.perf_counter``.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._at_work = threading.Lock()
        self.ended = 0.0

    def __getattr__(self, name: str) -> Any:
        """Everything else is the model's."""
        return getattr(self._model, name)

    def step(self, runs: Sequence[Any]) -> None:
        """Have the model make a step."""
        with self._at_work:
            try:
                self._model.step(runs)
            finally:
                self.ended = time.perf_counter()

    def wait(self) -> None:
        """Return when it is in no step."""
        with self._at_work:
            pass


@dataclass(frozen=True, slots=True)
class Bench:
    """What is measured, and what beside.

    :ivar watched: the engine's model.
    :ivar rival: llama-cpp-python.
    :ivar chat: the model's layout.
    """

    engine: Engine
    watched: Watched
    rival: Rival
    material: Material
    chat: Chat

    def text(self, prompt: Prompt) -> str:
        """Return a prompt as llama-cpp-python takes it: as one text, special tokens written out."""
        return "".join(piece.text for piece in self.chat.lay_out(prompt))

    async def rest(self) -> None:
        """Return when the model has been idle for a moment."""
        await self.engine.idle(_REST)

    def cases(self, count: int, *, after: int = 0) -> list[Case]:
        """Return cases, of which the first few are for warming up.

        :param after: how many of the questions others have had.
        """
        asked = self.material.questions[after : after + count + WARM_UP]
        index = questions.indexed(self.material.notes(self.engine.model.count))
        recalled = questions.best_unused(index, asked, K)
        return [Case(question.text, tuple(notes)) for question, notes in zip(asked, recalled, strict=True)]


def noted(texts: Sequence[str]) -> list[Note]:
    """Return recalled texts as a prompt takes them."""
    return [prompts.note(hashlib.sha256(text.encode()).hexdigest(), text) for text in texts]


async def first_piece(engine: Engine, prompt: Prompt) -> float:
    """Return the seconds from the request to the first piece of the answer; the rest of it is not waited for."""
    started = time.perf_counter()
    async with engine.stream(prompt, Sampling(max_tokens=16)) as pieces:
        async for _ in pieces:
            break
        return time.perf_counter() - started


async def in_turns(
    calls: Mapping[str, Callable[[int], Awaitable[float]]],
    count: int,
    *,
    before: Callable[[int], Awaitable[object]],
    rest: Callable[[], Awaitable[object]] = trio.lowlevel.checkpoint,
) -> dict[str, list[float]]:
    """Make each call for each number, for every number in another order; return what they gave.

    :param count: how many numbers count; :data:`WARM_UP` come before them.
    :param before: comes before the calls for a number.
    :param rest: comes before each call.
    """
    rng = random.Random(_SEED)  # noqa: S311 - nothing secret
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(count + WARM_UP):
        await before(number)
        for name in rng.sample(list(calls), len(calls)):
            await rest()
            value = await calls[name](number)
            if number >= WARM_UP:
                taken[name].append(value)
    return taken
