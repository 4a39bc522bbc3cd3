"""What a model costs: read, refused, and played back on a virtual clock."""

import json

import pytest
import trio
from trio.testing import MockClock

from espeer.errors import ConfigError
from espeer.lifecycle import prompts
from espeer.llm.engine import Engine, Priority
from espeer.llm.fake import UNKNOWN
from espeer.llm.model import Prompt, Sampling
from espeer.sim.virtual import profile
from espeer.sim.virtual.machine import Machine
from espeer.sim.virtual.model import ProfiledModel
from espeer.sim.virtual.profile import Profile

COSTS = Profile(
    model="costly",
    machine="none",
    threads=1,
    load_s=1.0,
    evaluate_ms=((1, 10.0), (128, 137.0)),
    restore_ms=0.0,
    answer_ms=0.0,
    answer_tokens=30,
    lesson_tokens=50,
    step=128,
    context=4096,
    characters_per_token=4.0,
    bytes_per_token=1000,
)


def test_a_profile_is_the_same_after_it_was_written() -> None:
    assert profile.parse(COSTS.as_text()) == COSTS
    assert profile.shipped().seconds(1) > 0


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "[]",
        "{}",
        json.dumps(COSTS.as_json() | {"form": 0}),
        json.dumps(COSTS.as_json() | {"evaluate_ms": [[1, 1], [1, 2]]}),
    ],
)
def test_what_is_no_profile_is_refused(broken: str) -> None:
    with pytest.raises(ConfigError, match="profile"):
        profile.parse(broken)


def test_evaluations_between_the_measured_ones_and_beyond_lie_on_the_line() -> None:
    assert [round(COSTS.seconds(tokens), 4) for tokens in (0, 1, 2, 64, 128, 256)] == [0, 0.01, 0.011, 0.073, 0.137, 0.265]


async def _first_token(engine: Engine, prompt: Prompt) -> float:
    began = trio.current_time()
    async with engine.stream(prompt, Sampling(max_tokens=20)) as pieces:
        async for _ in pieces:
            return trio.current_time() - began
    raise AssertionError("there was no answer")


async def _with_engine(machine: Machine) -> list[float]:
    model = ProfiledModel(COSTS, machine)
    engine = Engine(model, in_thread=False, spend=model.spend)
    note = prompts.note("one", "The kiln of line 4 stops with A1. Purging the line cured it.")
    prompt = prompts.ask("The kiln stops with A1, what now?", [note])
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        cold = await _first_token(engine, prompt)
        warm = await _first_token(engine, prompts.ask("Why does the kiln stop?", [note]))
        nursery.start_soon(lambda: engine.complete(prompts.distil([]), priority=Priority.DISTIL))
        await trio.sleep(0.001)  # the distillation is in the middle of its first step
        beside = await _first_token(engine, prompts.ask("Why does the kiln stop?", [note]))
        nursery.cancel_scope.cancel()
    return [cold, warm, beside]


def test_what_is_kept_is_not_evaluated_again_and_questions_go_before_background_work() -> None:
    cold, warm, beside = trio.run(_with_engine, Machine(), clock=MockClock(autojump_threshold=0))
    assert 0.01 < warm < cold / 2
    assert beside == pytest.approx(warm)


def test_an_answer_takes_as_long_as_the_real_ones_though_it_says_less() -> None:
    async def whole() -> float:
        model = ProfiledModel(COSTS, Machine())
        engine = Engine(model, in_thread=False, spend=model.spend)
        async with trio.open_nursery() as nursery:
            await nursery.start(engine.run)
            began = trio.current_time()
            assert await engine.complete(prompts.ask("Why?", ()), Sampling(max_tokens=128)) == UNKNOWN
            took = trio.current_time() - began
            nursery.cancel_scope.cancel()
        return took

    assert 0.3 < trio.run(whole, clock=MockClock(autojump_threshold=0)) < 0.45  # 30 tokens of 10 ms, and the prompt


def test_models_share_the_cores_of_a_machine() -> None:
    async def work(machine: Machine) -> float:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(machine.work, 1.0)
        return trio.current_time()

    times = [trio.run(work, machine, clock=MockClock(autojump_threshold=0)) for machine in (Machine(), Machine(2), Machine(8))]
    assert times == [pytest.approx(1.0), pytest.approx(2.0), pytest.approx(1.0)]
