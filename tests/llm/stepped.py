"""A model whose steps a test holds up, and that notes what is done with it."""

import threading
from collections.abc import Sequence

import trio

from espeer.llm.fake import FakeModel
from espeer.llm.model import Finish, Message, Prompt, Run, Sampling, Score

DEADLINE = 10.0


def ask(text: str) -> Prompt:
    return Prompt((Message("user", text),))


def question(prompt: Prompt) -> str:
    return prompt.messages[-1].text


class SteppedRun:
    """A run of the fake, by the text that it was asked."""

    def __init__(self, model: "SteppedModel", text: str, run: Run) -> None:
        mark, _, rest = text.partition(" ")
        self.model = model
        self.name = rest if mark.startswith("@") else text
        self.hold = int(mark[1:]) if mark.startswith("@") else None
        self.run = run
        self.steps = 0
        self.closed = False

    @property
    def done(self) -> bool:
        return self.run.done

    @property
    def error(self) -> Exception | None:
        return self.run.error

    @property
    def finish(self) -> Finish | None:
        return self.run.finish

    @property
    def scores(self) -> list[Score]:
        return self.run.scores

    def take(self) -> str:
        self.model.touch()
        assert not self.closed
        return self.run.take()

    def close(self) -> None:
        self.model.touch()
        self.closed = True
        self.run.close()


class SteppedModel(FakeModel):
    """Answers with the question, a word a step.

    Asked ``@2 one two three``, it is held up in its step 2 (they count from 0), once, until it is interrupted or let go.

    :ivar log: what each step was for; interrupted ones are put in brackets.
    :ivar calls: of steps.
    :ivar threads: those it was used in.
    """

    def __init__(self, *, width: int = 4) -> None:
        super().__init__(lambda prompt, _: question(prompt).partition(" ")[2] if "@" in question(prompt) else question(prompt))
        self.width = width  # type: ignore[misc]
        self.runs: list[SteppedRun] = []
        self.log: list[str] = []
        self.threads: set[int] = set()
        self.calls = 0
        self.interrupts = 0
        self.held = threading.Event()
        self._go = threading.Event()
        self._interrupted = False
        self._users = threading.Lock()

    def touch(self) -> None:
        self.threads.add(threading.get_ident())
        assert self._users.acquire(blocking=False), "two threads use the model at once"
        self._users.release()

    def generate(self, prompt: Prompt, sampling: Sampling) -> Run:
        return self._begin(question(prompt), super().generate(prompt, sampling))

    def score(self, prompt: Prompt, continuations: Sequence[str]) -> Run:
        return self._begin(question(prompt), super().score(prompt, continuations))

    def warm(self, prompt: Prompt, ranks: int) -> Run:
        return self._begin(question(prompt), super().warm(prompt, ranks))

    def _begin(self, text: str, run: Run) -> Run:
        self.touch()
        self.runs.append(SteppedRun(self, text, run))
        return self.runs[-1]

    def step(self, runs: Sequence[Run]) -> None:
        self.touch()
        self.calls += 1
        with self._users:
            ours = [run for run in runs if isinstance(run, SteppedRun)]
            assert 0 < len(ours) <= self.width
            assert not any(run.done or run.closed for run in ours)
            names = " + ".join(run.name for run in ours)
            if self._held_up(ours):
                self.log.append(f"({names})")
                return
            self.log.append(names)
            super().step([run.run for run in ours])
            for run in ours:
                run.steps += 1

    def _held_up(self, runs: list[SteppedRun]) -> bool:
        for run in runs:
            if run.hold == run.steps:
                run.hold = None
                self.held.set()
                assert self._go.wait(DEADLINE)
                self._go.clear()
        interrupted, self._interrupted = self._interrupted, False
        return interrupted

    def interrupt(self) -> None:
        self.interrupts += 1
        self._interrupted = True
        self._go.set()

    def let_go(self) -> None:
        self._go.set()

    async def wait_held(self) -> None:
        await trio.to_thread.run_sync(self.held.wait, DEADLINE)
        assert self.held.is_set()
        self.held.clear()
