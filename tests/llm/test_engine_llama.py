"""An engine with a model of llama.cpp, in its thread."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import llama_cpp
import pytest
import trio
from bringing import answer, score
from test_llama import assert_consistent, close
from tiny_gguf import write_recurrent, write_tiny

from espeer.llm.context import Cell, Interrupted
from espeer.llm.engine import Engine, Priority
from espeer.llm.llama import LlamaModel
from espeer.llm.model import Message, Note, Prompt, Sampling

NOTES = tuple(Note(f"id {letter}", letter * length) for letter, length in zip("abcd", (9, 40, 103, 104), strict=True))
DEADLINE = 10.0
CHOICES = ("x", "yes", "perhaps so")


def prompts() -> list[Prompt]:
    return [
        Prompt((Message("system", "Be brief."), Message("user", question, lead="Notes:", notes=NOTES[:count])))
        for question in ("Which?", "q" * 100)
        for count in range(4)
    ]


class Held:
    """Holds up one evaluation of a model in its midst, until it is interrupted."""

    def __init__(self, model: LlamaModel, number: int) -> None:
        self._context = model._context
        self._evaluate = self._context.evaluate
        self._rest = number
        self._begun = threading.Event()
        self.interrupted = 0
        self._check = llama_cpp.ggml_abort_callback(self._hold)
        self._context.evaluate = self._counted  # type: ignore[method-assign]

    async def wait(self) -> None:
        assert await trio.to_thread.run_sync(self._begun.wait, DEADLINE)

    def _counted(self, cells: Sequence[Cell], **how: bool) -> None:
        if self._rest == 0:
            llama_cpp.llama_set_abort_callback(self._context.handle, self._check, None)
        self._rest -= 1
        try:
            self._evaluate(cells, **how)
        except Interrupted:
            self.interrupted += 1
            raise

    def _hold(self, _: None) -> bool:
        if self._rest != -1 or self.interrupted:
            return False
        self._begun.set()
        until = time.monotonic() + DEADLINE
        while self._context._flag.value == b"0" and time.monotonic() < until:
            time.sleep(0.001)
        return self._context._flag.value == b"1"


LONG = Prompt((Message("system", "Be brief."), Message("user", "q" * 150, lead="Notes:", notes=NOTES[:3])))
SHORT = Prompt((Message("user", "Which?"),))
USUAL = Sampling(8, grammar="root ::= [a-z]+")


EVALUATIONS = [0, 1, 2, 4, 5, 6, 9]
"""Of the prefix, the notes, the question and the answer. The third moves notes, and cannot be interrupted."""


@pytest.mark.parametrize("number", EVALUATIONS)
async def test_background_work_gives_way_in_its_midst_and_is_done_all_the_same(
    tiny: Callable[..., LlamaModel], nursery: trio.Nursery, number: int
) -> None:
    alone, model = (tiny(llama__context_length=700) for _ in range(2))
    answers = {prompt: answer(alone, prompt, USUAL) for prompt in (LONG, SHORT)}
    held = Held(model, number)
    engine = Engine(model)
    await nursery.start(engine.run)
    order: list[Prompt] = []

    async def call(prompt: Prompt, priority: Priority) -> None:
        assert await engine.complete(prompt, USUAL, priority=priority) == answers[prompt]
        order.append(prompt)

    with trio.fail_after(DEADLINE):
        async with trio.open_nursery() as calls:
            calls.start_soon(call, LONG, Priority.DISTIL)
            await held.wait()
            calls.start_soon(call, SHORT, Priority.INTERACTIVE)
    assert order == [SHORT, LONG]
    assert held.interrupted == 1
    assert_consistent(model)


@pytest.mark.parametrize("number", EVALUATIONS)
async def test_who_is_cancelled_leaves_at_once_and_nothing_behind(
    tiny: Callable[..., LlamaModel], nursery: trio.Nursery, number: int
) -> None:
    alone, model = (tiny(llama__context_length=700) for _ in range(2))
    held = Held(model, number)
    engine = Engine(model)
    await nursery.start(engine.run)
    async with trio.open_nursery() as calls:
        calls.start_soon(engine.complete, LONG, USUAL)
        await held.wait()
        cancelled = trio.current_time()
        calls.cancel_scope.cancel()
    assert trio.current_time() - cancelled < 1  # and not only when the step would have ended
    with trio.fail_after(DEADLINE):
        assert await engine.complete(SHORT, USUAL) == answer(alone, SHORT, USUAL)
        assert await engine.complete(LONG, USUAL) == answer(alone, LONG, USUAL)
    assert held.interrupted == 1
    assert_consistent(model)


@pytest.mark.parametrize("write", [partial(write_tiny, llama__context_length=700), write_recurrent])
@pytest.mark.parametrize("seed", range(3))
async def test_each_gets_the_answer_that_it_would_get_alone(tmp_path: Path, write: Callable[[Path], Path], seed: int) -> None:
    alone, model = (LlamaModel.load(write(tmp_path / f"{name}.gguf"), threads=1) for name in ("alone", "model"))
    usual = Sampling(24, grammar="root ::= [a-z]+")
    answers = {prompt: answer(alone, prompt, usual) for prompt in prompts()}
    scores = {prompt: score(alone, prompt, CHOICES) for prompt in prompts()}
    engine = Engine(model)
    draw = random.Random(seed)
    left = 0

    async def call(prompt: Prompt, kind: str, priority: Priority, delay: float, patience: float) -> None:
        nonlocal left
        await trio.sleep(delay)
        with trio.move_on_after(patience) as scope:
            if kind == "warm":
                await engine.warm(prompt, 3)
            elif kind == "score":
                assert close(await engine.score(prompt, CHOICES, priority=priority), scores[prompt], 1e-3)
            else:
                assert await engine.complete(prompt, usual, priority=priority) == answers[prompt]
        left += scope.cancelled_caught

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(engine.run)
            async with trio.open_nursery() as calls:
                for _ in range(60):
                    calls.start_soon(
                        call,
                        draw.choice(prompts()),
                        draw.choice(["warm", "score", "complete", "complete"]),
                        draw.choice(list(Priority)[:3]),
                        draw.random() * 0.4,
                        draw.choice([0.002, 0.02, 0.1, 60.0, 60.0]),
                    )
            assert engine.waiting == 0
            nursery.cancel_scope.cancel()
    assert left
    assert_consistent(model)
    model.close()
    alone.close()
