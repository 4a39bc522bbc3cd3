"""Warming, on a virtual clock."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from espeer import warming as warming_module
from espeer.errors import PromptTooLong, StoreError
from espeer.lifecycle import prompts
from espeer.llm.engine import Engine
from espeer.llm.fake import FakeModel
from espeer.llm.model import Model, Note, Prompt, Run, Sampling
from espeer.warming import CALM_SECONDS, PAUSE_SECONDS, RETRY_SECONDS, Warming

PLAIN = prompts.ask("", ())


class Kept(FakeModel):
    """Keeps the states of so many prompts, and forgets what was used longest ago."""

    def __init__(self, room: int = 1000) -> None:
        super().__init__()
        self.room = room
        self.kept: OrderedDict[Prompt, None] = OrderedDict()
        self.warmed: list[Prompt] = []

    def warm(self, prompt: Prompt, ranks: int) -> Run:
        if any("too long" in note.text for note in prompt.messages[-1].notes):
            raise PromptTooLong("the notes do not fit the context")
        assert ranks == 3
        self.warmed.append(prompt)
        self.kept[prompt] = None
        while len(self.kept) > self.room:
            self.kept.popitem(last=False)
        return super().warm(prompt, ranks)

    def is_warm(self, prompt: Prompt, ranks: int) -> bool:
        assert ranks == 3
        if prompt in self.kept:
            self.kept.move_to_end(prompt)
        return prompt in self.kept


def notes(*names: str) -> list[Note]:
    return [prompts.note(name, f"Text {name}.") for name in names]


def warmed(model: Kept) -> list[str]:
    return [note.id for prompt in model.warmed for note in prompt.messages[-1].notes]


class Likely:
    """What is likely to be recalled."""

    def __init__(self, *names: str) -> None:
        self.notes = notes(*names)
        self.asked: list[int] = []
        self.error: Exception | None = None

    async def __call__(self, limit: int) -> Sequence[Note]:
        self.asked.append(limit)
        if self.error is not None:
            raise self.error
        return self.notes[:limit]


Start = Callable[[Kept, Likely], AsyncIterator[tuple[Engine, Warming]]]


@asynccontextmanager
async def warming(model: Kept, likely: Likely) -> AsyncIterator[tuple[Engine, Warming]]:
    engine = Engine(model, in_thread=False)
    made = Warming(engine, likely, ranks=3)
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        await nursery.start(made.run)
        yield engine, made
        nursery.cancel_scope.cancel()


async def a_while(rounds: int = 1) -> None:
    await trio.sleep(rounds * (PAUSE_SECONDS + CALM_SECONDS + 1))


async def test_at_the_start_what_prompts_begin_with_and_the_likeliest_are_warmed(autojump_clock: MockClock) -> None:
    model = Kept()
    async with warming(model, Likely("a", "b")):
        await a_while()
    assert model.warmed == [PLAIN, *(prompts.ask("", [note]) for note in notes("a", "b"))]


async def test_nothing_is_done_before_the_model_is_idle(autojump_clock: MockClock) -> None:
    model = Kept()
    async with warming(model, Likely("a")) as (engine, _):
        for _ in range(5):
            await engine.complete(prompts.ask("Talk.", ()), Sampling(max_tokens=1))
            await trio.sleep(CALM_SECONDS - 0.1)
        assert model.warmed == []
        await a_while()
        assert warmed(model) == ["a"]


async def test_it_gives_way_between_two_experiences(autojump_clock: MockClock) -> None:
    model = Kept()
    async with warming(model, Likely("a", "b", "c")) as (engine, _):
        generate = model.generate

        def busy(prompt: Prompt, sampling: Sampling) -> Run:
            order.append(len(model.warmed))
            return generate(prompt, sampling)

        order: list[int] = []
        model.generate = busy  # type: ignore[method-assign]
        await trio.sleep(CALM_SECONDS)
        await engine.complete(prompts.ask("Talk.", ()), Sampling(max_tokens=1))
        at_that_time = order[0]
        await trio.sleep(CALM_SECONDS - 0.1)
        assert len(model.warmed) - at_that_time <= 1  # the one at work
        await a_while()
        assert warmed(model) == ["a", "b", "c"]


async def test_a_wake_brings_what_is_new_and_nothing_twice(autojump_clock: MockClock) -> None:
    model, likely = Kept(), Likely("a")
    async with warming(model, likely) as (_, made):
        await a_while()
        likely.notes = notes("new", "a")
        await a_while(20)
        assert warmed(model) == ["a"]  # nobody woke it
        made.wake()
        await a_while()
        assert warmed(model) == ["a", "new"]


async def test_many_wakes_are_few_rounds(autojump_clock: MockClock) -> None:
    likely = Likely("a")
    async with warming(Kept(), likely) as (_, made):
        for _ in range(100):
            made.wake()
            await trio.sleep(0.1)
        assert len(likely.asked) <= 1 + 10 / PAUSE_SECONDS


async def test_it_ends_at_the_first_experience_that_costs_another_one(autojump_clock: MockClock) -> None:
    model, likely = Kept(room=4), Likely(*"abcdefgh")
    async with warming(model, likely) as (_, made):
        await a_while()
        assert warmed(model) == ["a", "b", "c", "d"]  # the last one drove the third one out
        for _ in range(10):
            made.wake()
            await a_while()
        assert warmed(model) == ["a", "b", "c", "d", "c"]  # and from then on there is peace
        assert set(model.kept) == {PLAIN, *(prompts.ask("", [note]) for note in notes("a", "b", "c"))}


async def test_what_is_new_takes_the_place_of_what_is_least_likely(autojump_clock: MockClock) -> None:
    model, likely = Kept(room=4), Likely(*"abcdefgh")
    async with warming(model, likely) as (_, made):
        await a_while()
        made.wake()
        await a_while()
        before = len(model.warmed)
        likely.notes = notes("new", *"abcdefgh")
        made.wake()
        await a_while()
        assert set(model.kept) == {PLAIN, *(prompts.ask("", [note]) for note in notes("new", "a", "b"))}
        assert len(model.warmed) == before + 1


async def test_what_else_is_kept_goes_before_what_is_likely(autojump_clock: MockClock) -> None:
    model, likely = Kept(room=6), Likely("a", "b")
    async with warming(model, likely) as (_, made):
        await a_while()
        for name in "wxyz":  # what prompts of another kind left behind
            model.warm(prompts.ask("", notes(name)), 3)
        made.wake()
        await a_while()
        assert {PLAIN, *(prompts.ask("", [note]) for note in notes("a", "b"))} <= set(model.kept)


async def test_later_there_may_be_more_room(autojump_clock: MockClock) -> None:
    model, likely = Kept(room=4), Likely(*"abcdefgh")
    async with warming(model, likely) as (_, made):
        await a_while()
        model.room = 100
        made.wake()
        await a_while()
        assert set(warmed(model)) < set("abcdefgh")
        await trio.sleep(RETRY_SECONDS)
        made.wake()
        await a_while()
        assert set(warmed(model)) == set("abcdefgh")


async def test_a_model_that_keeps_nothing_is_asked_once_in_a_round(autojump_clock: MockClock) -> None:
    model = Kept(room=0)
    async with warming(model, Likely(*"abc")):
        await a_while()
    assert model.warmed == [PLAIN]


async def test_an_experience_that_does_not_fit_is_passed_over(autojump_clock: MockClock) -> None:
    model, likely = Kept(), Likely()
    likely.notes = [prompts.note("x", "It is too long."), *notes("b")]
    async with warming(model, likely):
        await a_while()
    assert warmed(model) == ["b"]


@pytest.mark.parametrize("error", [StoreError("no room"), ValueError("a fault")])
async def test_what_goes_wrong_ends_the_round_and_not_the_node(autojump_clock: MockClock, error: Exception) -> None:
    model, likely = Kept(), Likely("a")
    likely.error = error
    async with warming(model, likely) as (_, made):
        await a_while()
        likely.error = None
        made.wake()
        await a_while()
        assert warmed(model) == ["a"]


async def test_the_default_model_has_nothing_left_to_work_out_of_what_was_warmed(
    real_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warming_module, "CALM_SECONDS", 0.0)
    likely = Likely()
    likely.notes = [prompts.note(f"warming {n}", f"When pump P{n} shows E4{n}, purge line {n} for 40 s.") for n in range(3)]
    engine = Engine(real_model)
    asked = prompts.ask("What about E42?", likely.notes)
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        made = Warming(engine, likely, ranks=3)
        assert not await engine.is_warm(asked, 3)
        await nursery.start(made.run)
        with trio.fail_after(60):
            while not await engine.is_warm(asked, 3):
                await engine.idle(0)
        before = real_model.statistics()
        assert await engine.complete(asked, Sampling(max_tokens=2))
        after = real_model.statistics()
        nursery.cancel_scope.cancel()
    assert after["misses"] == before["misses"]
    assert after["hits"] >= before["hits"] + 1 + 3  # the prefix, and each note
