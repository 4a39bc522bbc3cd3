"""An engine with a model of llama.cpp, in its thread."""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio
from bringing import answer, score
from test_llama import assert_consistent, close
from tiny_gguf import write_recurrent, write_tiny

from espeer.llm.engine import Engine, Priority
from espeer.llm.llama import LlamaModel
from espeer.llm.model import Message, Note, Prompt, Sampling

NOTES = tuple(Note(f"id {letter}", letter * length) for letter, length in zip("abcd", (9, 40, 103, 104), strict=True))
CHOICES = ("x", "yes", "perhaps so")


def prompts() -> list[Prompt]:
    return [
        Prompt((Message("system", "Be brief."), Message("user", question, lead="Notes:", notes=NOTES[:count])))
        for question in ("Which?", "q" * 100)
        for count in range(4)
    ]


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
