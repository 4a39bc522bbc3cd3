"""Augmented inference: recall, pack what was recalled into the prompt, answer (paper section 3, "augmented inference")."""

import random
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from math import exp, inf
from typing import Final

import trio

from espeer.asking import MAX_SEED, AskOptions, Ending
from espeer.conversation import Conversation
from espeer.errors import PromptTooLong
from espeer.events import Answered
from espeer.lifecycle import prompts
from espeer.lifecycle.choice import Method, pick
from espeer.lifecycle.classify import by_evidence
from espeer.llm.engine import Engine, Pieces
from espeer.llm.model import Message, Note, Prompt, Sampling
from espeer.packing import Text, pack
from espeer.recall import Recall
from espeer.replica import Hit
from espeer.timing import Clock, Timing

_CONFIDENCE_TOKENS: Final = 48
"""What the question for the confidence adds to a prompt, with room to spare."""

_ANSWER_SHARE: Final = 4
"""What is recalled leaves this part of the context to the answer at most: a fourth. Only room that nobody needs is more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node answered.

    :ivar id: the interaction's number, for :meth:`espeer.Node.feedback`; None if it was not kept.
    :ivar text: the answer.
    :ivar experiences: what stood in the prompt, best first; empty for plain inference.
    :ivar type: the topic type of the question, by what was recalled for it; None if nothing was.
    :ivar confidence: the model's own probability that its answer is right, 0 to 1; None where there was no time to ask it.
    :ivar finish: why the answer ended: "stop" (by itself, or at a stop text), "length", "loop" (it said the same again and
        again), or "time".
    :ivar ttft_ms: milliseconds from the call to the first piece of the answer.
    :ivar timing: where they went.
    :ivar prompt_tokens, answer_tokens: what the model read, and what it wrote.
    :ivar unreached: topic types that could not be recalled: nobody who holds them answered in time.
    """

    id: int | None
    text: str
    experiences: tuple[Hit, ...]
    type: str | None
    confidence: float | None
    finish: Ending
    ttft_ms: float
    timing: Timing
    prompt_tokens: int
    answer_tokens: int
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

    :param finish: makes the answer, of its text, its time to the first token, and why it ended.
    :param clock: of this one question.
    """

    def __init__(self, pieces: Pieces, finish: Callable[[str, float, Ending], Awaitable[Answer]], *, clock: Clock) -> None:
        self._pieces = pieces
        self._finish = finish
        self._clock = clock
        self._ttft_ms: float | None = None
        self._text = ""
        self._late = False

    def __aiter__(self) -> AsyncIterator[str]:
        """Iterate over the pieces that did not come yet."""
        return self

    async def __anext__(self) -> str:
        """Return the next piece of text.

        :raises ModelTimeout: there is none, and the time is over.
        """
        if self._late:
            raise StopAsyncIteration
        with trio.move_on_at(self._clock.deadline):
            piece = await anext(self._pieces)
            if self._ttft_ms is None:
                self._ttft_ms = self._clock.elapsed_ms
            self._text += piece
            return piece
        if not self._text:
            raise self._clock.late
        self._late = True
        raise StopAsyncIteration

    @property
    def finish(self) -> Ending | None:
        """Why the answer ended; None before it has."""
        return "time" if self._late else self._pieces.finish

    async def answer(self) -> Answer:
        """Take what is left of the answer, have the model judge it, and return the whole."""
        async for _ in self:
            pass
        ttft_ms = self._clock.elapsed_ms if self._ttft_ms is None else self._ttft_ms
        return await self._finish(self._text, ttft_ms, self.finish or "stop")


class Inference:
    """Answers questions with what is recalled for them.

    :param answer_tokens: the most tokens of an answer, where a question does not say.
    :param answer_seconds: the most seconds that an answer may take; None for as long as it takes.
    :param tell: told of each answer.
    """

    def __init__(
        self,
        engine: Engine,
        recall: Recall,
        *,
        answer_tokens: int,
        answer_seconds: float | None,
        tell: Callable[[Answered], None] = lambda _: None,
    ) -> None:
        self._tell = tell
        self._engine = engine
        self._recall = recall
        self._answer_tokens = answer_tokens
        self._answer_seconds = inf if answer_seconds is None else answer_seconds

    @asynccontextmanager
    async def stream(
        self, asked: Conversation, *, recall: int, type: str | None, options: AskOptions, capture: Capture | None
    ) -> AsyncIterator[AnswerStream]:
        """Answer a question piece by piece; leaving the block stops the model. Without ``capture`` nothing is kept of it."""
        clock = Clock(trio.current_time(), options.timeout or self._answer_seconds)
        with clock.in_time():
            found = await self._recall.recall(asked.question, recall, type=type)
        recalled_ms = clock.elapsed_ms
        wanted = options.max_tokens or self._answer_tokens
        reserve = min(wanted, self._engine.model.context // _ANSWER_SHARE) + _CONFIDENCE_TOKENS
        packed = self._packed(found.hits, lambda notes: prompts.ask(asked.question, notes, task=asked.task), reserve)
        packed = self._with_earlier(asked, packed, self._engine.model.context - reserve)
        packed_ms = clock.elapsed_ms
        shown_type = type or by_evidence(packed.used)
        classified_ms = clock.elapsed_ms

        def timing(ttft_ms: float) -> Timing:
            queue = min(pieces.queued * 1000, max(0.0, ttft_ms - classified_ms))
            return Timing(
                recall=recalled_ms - found.waited * 1000,
                network=found.waited * 1000,
                classify=classified_ms - packed_ms,
                pack=packed_ms - recalled_ms,
                queue=queue,
                prefill=max(0.0, ttft_ms - classified_ms - queue),
            )

        async def finish(text: str, ttft_ms: float, ending: Ending) -> Answer:
            elapsed_ms = clock.elapsed_ms
            confidence = None
            if ending != "time":
                with trio.move_on_at(clock.deadline):
                    confidence = await reported_confidence(self._engine, packed.prompt, text)
            number = await capture(asked.question, text, packed.used) if capture else None
            used = tuple(hit.id for hit in packed.used)
            tokens = self._engine.model.size(_in_one(packed.prompt)), self._engine.model.count(text)
            self._tell(Answered(number, used, ending, ttft_ms, elapsed_ms, *tokens))
            return Answer(
                number,
                text.strip(),
                packed.used,
                shown_type,
                confidence,
                ending,
                ttft_ms,
                timing(ttft_ms),
                *tokens,
                found.unreached,
            )

        sampling = Sampling(
            max_tokens=min(wanted, self._engine.model.context - packed.size - _CONFIDENCE_TOKENS),
            temperature=options.temperature,
            seed=random.randint(0, MAX_SEED) if options.seed is None else options.seed,  # noqa: S311 - nothing secret
            stop=options.stop,
            grammar=options.grammar,
        )
        async with self._engine.stream(packed.prompt, sampling) as pieces:
            yield AnswerStream(pieces, finish, clock=clock)

    async def choose(self, question: str, choices: Sequence[str], *, recall: int, type: str | None, method: Method) -> Choice:
        """Pick the likeliest of several answers."""
        started = trio.current_time()
        found = await self._recall.recall(question, recall, type=type)
        longest = max(self._engine.model.count(choice) for choice in choices) + 8
        packed = self._packed(found.hits, lambda notes: prompts.choose(question, choices, notes, method)[0], longest)
        continuations = prompts.choose(question, choices, (), method)[1]
        index, probabilities = pick(await self._engine.score(packed.prompt, continuations), method)
        elapsed_ms = (trio.current_time() - started) * 1000
        return Choice(
            index, choices[index], probabilities[index], tuple(probabilities), packed.used, method, elapsed_ms, found.unreached
        )

    def _packed(self, hits: Sequence[Hit], form: Callable[[Sequence[Note]], Prompt], reserve: int) -> "_Packed":
        """Take in experiences, best first, while the prompt and the reserve fit the model's context.

        :raises PromptTooLong: not even the question alone fits.
        """
        model = self._engine.model

        @cache
        def size(*notes: Note) -> int:
            return model.size(form(notes))

        texts = [Text(hit.id, hit.experience.text) for hit in hits]
        taken = pack(texts, lambda notes: size(*notes), model.context - reserve)
        notes = [packed.note for packed in taken]
        tokens = size(*notes)
        if tokens + reserve > model.context:
            raise PromptTooLong(
                f"the question does not fit the model's context of {model.context} tokens; shorten it: with what goes "
                f"around it it has {tokens:,}, and {max(0, model.context - reserve):,} are free for it"
            )
        return _Packed(form(notes), tokens, notes, tuple(hits[packed.index] for packed in taken))

    def _with_earlier(self, asked: Conversation, packed: "_Packed", room: int) -> "_Packed":
        """Take in what was said before the question, from the latest user's turn on from which all of it fits the room."""
        model = self._engine.model
        earlier = [Message(turn.role, turn.text) for turn in asked.earlier]
        starts: list[int] = []
        left = room - packed.size
        for index in reversed(range(len(earlier))):  # so that not all of a long conversation is laid out
            left -= model.count(earlier[index].content)
            if left < 0:
                break
            if earlier[index].role == "user":
                starts.insert(0, index)

        def form(start: int) -> Prompt:
            return prompts.ask(asked.question, packed.notes, task=asked.task, earlier=earlier[start:])

        first = bisect_left(starts, True, key=lambda start: model.size(form(start)) <= room)
        if first == len(starts):
            return packed
        prompt = form(starts[first])
        return replace(packed, prompt=prompt, size=model.size(prompt))


@dataclass(frozen=True, slots=True)
class _Packed:
    """A prompt, the room that it takes in tokens, its notes, and the experiences that these are from, best first."""

    prompt: Prompt
    size: int
    notes: Sequence[Note]
    used: tuple[Hit, ...]


async def reported_confidence(engine: Engine, asked: Prompt, answer: str) -> float:
    """Return a model's probability of "Yes" against "No" when asked whether an answer that it gave is right, 0 to 1.

    :param asked: what it answered to.
    :raises PromptTooLong: not even half a word of the answer fits behind that.
    """
    while True:
        try:
            yes, no = await engine.score(prompts.confidence(asked, answer), ("Yes", "No"))
        except PromptTooLong:  # an answer can have more tokens when it is read than when it was written
            if not answer:
                raise
            answer = answer[: len(answer) // 2]
        else:
            return 1 / (1 + exp(no.logprob - yes.logprob))


def _in_one(prompt: Prompt) -> Prompt:
    """Return the prompt with its notes as plain text: what is read, without the room between notes."""
    return replace(prompt, messages=tuple(Message(message.role, message.text) for message in prompt.messages))
