"""A model whose words are the fake one's and whose times are a profile's, on a virtual clock.

It evaluates as the real one does: up to :attr:`Profile.step` tokens in a step, the beginnings of prompts and the experiences in
them not again while their states are kept, and a question about an answer goes on from that answer.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Any, Final

import trio

from espeer.errors import PromptTooLong
from espeer.llm.fake import FakeModel
from espeer.llm.model import Finish, Message, Prompt, Run, Sampling, Score, source_of
from espeer.sim.virtual.machine import Machine
from espeer.sim.virtual.profile import Profile

WIDTH: Final = 4
_LESSON: Final = 64
"""Answers may be longer than this, distillations and condensations not: see :mod:`espeer.lifecycle.distil`."""
_MB: Final = 1024 * 1024
_Key = tuple[str, str]


class ProfiledModel:
    """A :class:`espeer.llm.model.Model` for an engine without a thread, whose ``spend`` is :meth:`spend`.

    :param kv_cache_mb: megabytes for states.
    :ivar busy: seconds of the machine that it used so far.
    """

    def __init__(self, profile: Profile, machine: Machine, *, kv_cache_mb: int = 128) -> None:
        self.name: Final = profile.model
        self.context: Final = profile.context
        self.width: Final = WIDTH
        self.busy = 0.0
        self._profile = profile
        self._machine = machine
        self._fake = FakeModel(context=10**9, name=profile.model)
        self.digest: Final = self._fake.digest
        self._room = kv_cache_mb * _MB // profile.bytes_per_token
        self._kept: OrderedDict[_Key, int] = OrderedDict()
        self._left: tuple[tuple[Message, ...], int] = ((), 0)
        self._asked: list[tuple[_Run, int]] = []
        self._seconds = 0.0

    def count(self, text: str) -> int:
        """Return about how many tokens a text has."""
        return self._profile.tokens(text)

    def size(self, prompt: Prompt) -> int:
        """Return about how many tokens a prompt has."""
        return sum(self.count(message.text) + 4 for message in prompt.messages) + self.count(prompt.opening)

    def generate(self, prompt: Prompt, sampling: Sampling) -> Run:
        """Begin an answer.

        :raises PromptTooLong: it does not fit the context.
        """
        self._check(self.size(prompt) + sampling.max_tokens)
        run = _Run(self, self._fake.generate(prompt, sampling), prompt, answers=True)
        if sampling.grammar is None:  # what is asked for under a grammar is the second try of a lesson
            is_lesson = sampling.max_tokens <= _LESSON
            run.length = min(sampling.max_tokens, self._profile.answer_tokens) if not is_lesson else self._profile.lesson_tokens
        return run

    def score(self, prompt: Prompt, continuations: Sequence[str]) -> Run:
        """Begin to score.

        :raises PromptTooLong: it does not fit the context.
        """
        self._check(self.size(prompt) + max(map(self.count, continuations), default=0))
        run = _Run(self, self._fake.score(prompt, continuations), prompt, answers=False)
        run.more = sum(max(0, self.count(text) - 1) for text in continuations)
        return run

    def warm(self, prompt: Prompt, ranks: int) -> Run:
        """Begin to keep states."""
        run = _Run(self, self._fake.warm(prompt, ranks), None, answers=False)
        run.todo, run.delay = self.place(prompt, ranks=ranks, tail=False)
        return run

    def is_warm(self, prompt: Prompt, ranks: int) -> bool:  # noqa: ARG002 - all ranks of a note are kept, or none
        """Whether all states of a prompt are kept."""
        keys = list(_keys(prompt))
        for key in keys:
            if key in self._kept:
                self._kept.move_to_end(key)
        return all(key in self._kept for key in keys)

    def forget(self, notes: Collection[str]) -> None:
        """Drop the states of notes."""
        for key in [key for key in self._kept if key[0] == "note" and source_of(key[1]) in notes]:
            del self._kept[key]

    def step(self, runs: Sequence[Run]) -> None:
        """Say what the last step brought, and begin the next."""
        room, delay = self._profile.step, 0.0
        self._asked = []
        for run in runs[: self.width]:
            if not isinstance(run, _Run):
                raise TypeError(f"{run!r} is not a run of this model")
            run.begin()
            if not run.todo:
                run.say()
            if run.todo and room:
                taken = min(run.todo, room)
                room -= taken
                delay, run.delay = delay + run.delay, 0.0
                self._asked.append((run, taken))
        self._seconds = self._profile.seconds(self._profile.step - room) + delay

    async def spend(self) -> None:
        """Let the time of a step pass; the step is lost if this is cancelled, and its tokens are evaluated again."""
        if not self._asked:
            await trio.lowlevel.checkpoint()
            return
        asked, self._asked = self._asked, []
        started = trio.current_time()
        try:
            await self._machine.work(self._seconds)
        finally:
            self.busy += trio.current_time() - started
        for run, taken in asked:
            run.todo -= taken

    def interrupt(self) -> None:
        """Do nothing: the engine cancels :meth:`spend`."""

    def statistics(self) -> dict[str, Any]:
        """How many states are kept, and the seconds of work."""
        return {"states": len(self._kept), "busy_s": self.busy}

    def close(self) -> None:
        """Take no more requests."""
        self._fake.close()

    # -- for its runs

    def advance(self, run: Run) -> str:
        """Have the fake model bring a run on; return what it says."""
        self._fake.step([run])
        return run.take()

    def place(self, prompt: Prompt, *, ranks: int = 1, tail: bool = True) -> tuple[int, float]:
        """Return how many tokens must be evaluated for a prompt, and the seconds that it takes to put back states."""
        before, evaluated = self._left
        if tail and before and prompt.messages[: len(before)] == before:
            return max(1, self.size(prompt) - evaluated), 0.0
        tokens = restored = 0
        inside = 0
        for key, size in _keys(prompt).items():
            cost = self.count(size) + 4
            inside += cost
            if key in self._kept:
                restored += 1
            else:
                tokens += cost
            self._keep(key, cost * (ranks if key[0] == "note" else 1))
        rest = max(1, self.size(prompt) - inside) if tail else 0
        return tokens + rest, restored * self._profile.restore_ms / 1000

    def leave(self, prompt: Prompt, said: str) -> None:
        """Keep a finished prompt with its answer for a question that goes on from it."""
        messages = (*prompt.messages, Message("assistant", said))
        self._left = (messages, self.size(prompt) + self.count(said))

    @property
    def answer_seconds(self) -> float:
        """What an answer takes beside the model."""
        return self._profile.answer_ms / 1000

    def _keep(self, key: _Key, tokens: int) -> None:
        self._kept[key] = max(tokens, self._kept.pop(key, 0))
        while sum(self._kept.values()) > self._room and len(self._kept) > 1:
            self._kept.popitem(last=False)

    def _check(self, size: int) -> None:
        if size > self.context:
            raise PromptTooLong(f"the prompt and its answer may have {size} tokens, but the context is {self.context}")


class _Run:
    """A run of the fake model, and what is left to be evaluated before it goes on.

    :ivar todo: tokens; ``more`` of them come after the prompt.
    :ivar delay: seconds of the next step that are no evaluation.
    :ivar length: at least so many tokens are decoded, though the fake model has said all it has to say.
    """

    def __init__(self, model: ProfiledModel, inner: Run, prompt: Prompt | None, *, answers: bool) -> None:
        self.todo = self.more = self.length = 0
        self.delay = 0.0
        self._model = model
        self._inner = inner
        self._prompt = prompt
        self._answers = answers
        self._begun = prompt is None
        self._said = self._all = ""

    def begin(self) -> None:
        """Find out what the prompt costs, at the first step."""
        if self._begun or self._prompt is None:
            return
        self._begun = True
        self.todo, self.delay = self._model.place(self._prompt)
        self.todo += self.more
        if self._answers:
            self.delay += self._model.answer_seconds

    def say(self) -> None:
        """Go on by a word, or to the end of what is no answer."""
        while not self._inner.done:
            said = self._model.advance(self._inner)
            if self._answers:
                self._said += said
                self._all += said
                self.todo = max(1, self._model.count(said))
                self.length -= self.todo
                if not self._inner.done:
                    return
        if self._answers and self.length > 0:
            self.todo = 1
            self.length -= 1
            return
        self.todo = self.length = 0
        if self._answers and self._prompt is not None:
            self._model.leave(self._prompt, self._all)

    def take(self) -> str:
        said, self._said = self._said, ""
        return said

    @property
    def done(self) -> bool:
        return self._inner.done and not self.todo and self.length <= 0

    @property
    def error(self) -> Exception | None:
        return self._inner.error

    @property
    def finish(self) -> Finish | None:
        return self._inner.finish

    @property
    def scores(self) -> list[Score]:
        return self._inner.scores

    def close(self) -> None:
        self._inner.close()


def _keys(prompt: Prompt) -> dict[_Key, str]:
    """The parts of a prompt whose states are kept, with their texts: what it begins with, and its notes."""
    shared = prompt.shared
    if shared is None:
        shared = sum(message.role == "system" for message in prompt.messages)
    notes = [note for message in prompt.messages for note in message.notes]
    leads = [message.lead for message in prompt.messages if message.notes]
    beginning = "\n".join([*(message.text for message in prompt.messages[:shared]), *leads])
    found: dict[_Key, str] = {("prefix", beginning): beginning} if beginning else {}
    return found | {("note", note.id): note.text for note in notes}
