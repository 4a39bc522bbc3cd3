"""Augmented inference: recall, pack what was recalled into the prompt, answer (paper section 3, "augmented inference")."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import exp

import trio

from espeer.errors import PromptTooLong
from espeer.lifecycle import prompts
from espeer.lifecycle.choice import Method, pick
from espeer.lifecycle.classify import by_evidence
from espeer.llm.engine import Engine
from espeer.llm.model import Prompt, Sampling
from espeer.recall import Recall
from espeer.replica import Hit

_CONFIDENCE_TOKENS = 48
"""What the question for the confidence adds to a prompt, with room to spare."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node answered.

    :ivar id: the interaction's number, for :meth:`espeer.Node.feedback`.
    :ivar text: the answer.
    :ivar experiences: what stood in the prompt, best first; empty for plain inference.
    :ivar type: the topic type of the question, by what was recalled for it; None if nothing was.
    :ivar confidence: the model's own probability that its answer is right, 0 to 1.
    :ivar ttft_ms: milliseconds from the call to the first piece of the answer: recall, queue and prefill.
    :ivar unreached: topic types that could not be recalled: nobody who holds them answered in time.
    """

    id: int
    text: str
    experiences: tuple[Hit, ...]
    type: str | None
    confidence: float
    ttft_ms: float
    unreached: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of several choices a node took.

    :ivar index: the choice's place in the list.
    :ivar text: the choice.
    :ivar confidence: its share of the probability of all choices, 0 to 1.
    :ivar probabilities: every choice's share, in the order of the choices.
    :ivar experiences: what stood in the prompt, best first.
    :ivar method: "letter" or "text", which of the two was scored.
    :ivar elapsed_ms: milliseconds from the call to the choice.
    :ivar unreached: as :attr:`Answer.unreached`.
    """

    index: int
    text: str
    confidence: float
    probabilities: tuple[float, ...]
    experiences: tuple[Hit, ...]
    method: Method
    elapsed_ms: float
    unreached: tuple[str, ...] = ()


Capture = Callable[[str, str, Sequence[Hit]], Awaitable[int]]
"""Stores an interaction (query, response, experiences used) and gives its number."""


class AnswerStream:
    """An answer as it comes: iterate over its pieces of text, then call :meth:`answer`.

    :param started: when the question came, by trio's clock: the time to first token counts from then.
    """

    def __init__(
        self, pieces: AsyncIterator[str], finish: Callable[[str, float], Awaitable[Answer]], *, started: float
    ) -> None:
        self._pieces = pieces
        self._finish = finish
        self._started = started
        self._ttft_ms: float | None = None
        self._text = ""

    def __aiter__(self) -> AsyncIterator[str]:
        """Iterate over the pieces that did not come yet."""
        return self

    async def __anext__(self) -> str:
        """Return the next piece of text."""
        piece = await anext(self._pieces)
        if self._ttft_ms is None:
            self._ttft_ms = _since(self._started)
        self._text += piece
        return piece

    async def answer(self) -> Answer:
        """Take what is left of the answer, have the model judge it, and return the whole."""
        async for _ in self:
            pass
        return await self._finish(self._text, _since(self._started) if self._ttft_ms is None else self._ttft_ms)


class Inference:
    """Answers questions with what is recalled for them.

    :param answer_tokens: the most tokens of an answer; this much of the context is kept free for it.
    """

    def __init__(self, engine: Engine, recall: Recall, *, answer_tokens: int) -> None:
        self._engine = engine
        self._recall = recall
        self._answer_tokens = answer_tokens

    @asynccontextmanager
    async def stream(self, question: str, *, recall: int, type: str | None, capture: Capture) -> AsyncIterator[AnswerStream]:
        """Answer a question piece by piece; leaving the block stops the model."""
        started = trio.current_time()
        found = await self._recall.recall(question, recall, type=type)
        reserve = 2 * self._answer_tokens + _CONFIDENCE_TOKENS  # the answer stands in the prompt that asks for its confidence
        prompt, used = await self._packed(found.hits, lambda notes: prompts.ask(question, notes), reserve)

        async def finish(text: str, ttft_ms: float) -> Answer:
            confidence = await self._confidence(prompt, text)
            number = await capture(question, text, used)
            return Answer(number, text.strip(), used, type or by_evidence(used), confidence, ttft_ms, found.unreached)

        sampling = Sampling(max_tokens=self._answer_tokens)
        async with self._engine.stream(prompt, sampling) as pieces:
            yield AnswerStream(pieces, finish, started=started)

    async def choose(self, question: str, choices: Sequence[str], *, recall: int, type: str | None, method: Method) -> Choice:
        """Pick the likeliest of several answers."""
        started = trio.current_time()
        found = await self._recall.recall(question, recall, type=type)
        longest = max(self._engine.model.count(choice) for choice in choices) + 8
        prompt, used = await self._packed(
            found.hits, lambda notes: prompts.choose(question, choices, notes, method)[0], longest
        )
        continuations = prompts.choose(question, choices, [hit.experience.text for hit in used], method)[1]
        index, probabilities = pick(await self._engine.score(prompt, continuations), method)
        return Choice(
            index, choices[index], probabilities[index], tuple(probabilities), used, method, _since(started), found.unreached
        )

    async def _packed(
        self, hits: Sequence[Hit], form: Callable[[Sequence[str]], Prompt], reserve: int
    ) -> tuple[Prompt, tuple[Hit, ...]]:
        """Take in experiences, best first, while the prompt and the reserve fit the model's context.

        :raises PromptTooLong: not even the question alone fits.
        """
        room = self._engine.model.context - reserve
        used: tuple[Hit, ...] = ()
        prompt = form([])
        if self._engine.model.size(prompt) > room:
            raise PromptTooLong(
                f"the question does not fit the model's context of {self._engine.model.context} tokens; shorten it"
            )
        for hit in hits:
            longer = form([*(before.experience.text for before in used), hit.experience.text])
            if self._engine.model.size(longer) <= room:
                prompt, used = longer, (*used, hit)
        return prompt, used

    async def _confidence(self, asked: Prompt, text: str) -> float:
        """Return the model's probability of "Yes" against "No" when asked whether its answer is right."""
        yes, no = await self._engine.score(prompts.confidence(asked, text), ("Yes", "No"))
        return 1 / (1 + exp(no.logprob - yes.logprob))


def _since(started: float) -> float:
    return (trio.current_time() - started) * 1000
