import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from stepped import DEADLINE, SteppedModel, ask, question
from trio.testing import MockClock, wait_all_tasks_blocked

from espeer.errors import ModelError, PromptTooLong, QueueFull
from espeer.llm.engine import Engine, Priority
from espeer.llm.fake import FakeModel
from espeer.llm.model import Prompt, Run, Sampling

BACKGROUND = [Priority.DISTIL, Priority.REFINE, Priority.WARM]


@pytest.fixture
def model() -> Iterator[SteppedModel]:
    model = SteppedModel()
    yield model
    model.let_go()


async def until_waiting(engine: Engine, number: int = 1) -> None:
    with trio.fail_after(DEADLINE):
        while engine.waiting != number:
            await trio.lowlevel.checkpoint()


async def stop(engine: Engine) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await engine.run()


async def test_answers_and_scores(nursery: trio.Nursery) -> None:
    engine = Engine(FakeModel(lambda prompt, _: f"you said {question(prompt)}"))
    await nursery.start(engine.run)
    assert await engine.complete(ask("hello there")) == "you said hello there"
    scores = await engine.score(ask("the pump leaks"), ["pump", "door"])
    assert scores[0].logprob > scores[1].logprob
    assert engine.waiting == 0


# -- whose turn it is


async def test_order_is_priority_then_arrival(nursery: trio.Nursery, model: SteppedModel) -> None:
    engine = Engine(model)
    for text, priority in (
        ("r1", Priority.REFINE),
        ("d1", Priority.DISTIL),
        ("i1", Priority.INTERACTIVE),
        ("d2", Priority.DISTIL),
        ("i2", Priority.INTERACTIVE),
    ):
        nursery.start_soon(partial(engine.complete, ask(text), priority=priority))
        await wait_all_tasks_blocked()
    assert engine.waiting == 5
    async with trio.open_nursery() as requests:
        requests.start_soon(engine.warm, ask("w1"), 1)
        await wait_all_tasks_blocked()
        await nursery.start(engine.run)
    assert model.log == ["i1 + i2", "d1", "d2", "r1", "w1"]
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("step", [0, 2])
@pytest.mark.parametrize(
    ("background", "urgent"),
    [
        (background, urgent)
        for background in BACKGROUND
        for urgent in Priority
        if urgent < background and background is not Priority.WARM
    ],
)
async def test_background_gives_way_in_the_middle_of_a_step_and_goes_on(
    nursery: trio.Nursery, model: SteppedModel, background: Priority, urgent: Priority, step: int
) -> None:
    engine = Engine(model)
    await nursery.start(engine.run)
    answers: list[str] = []

    async def work() -> None:
        answers.append(await engine.complete(ask(f"@{step} a b c"), priority=background))

    async with trio.open_nursery() as requests:
        requests.start_soon(work)
        await model.wait_held()
        assert await engine.complete(ask("now"), priority=urgent) == "now"
    assert answers == ["a b c"]
    assert model.log == ["a b c"] * step + ["(a b c)", "now"] + ["a b c"] * (3 - step)


async def test_what_is_overtaken_while_it_begins_is_not_stepped(
    nursery: trio.Nursery, model: SteppedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, begun, go_on = model.generate, threading.Event(), threading.Event()

    def slow_begin(prompt: Prompt, sampling: Sampling) -> Run:
        if question(prompt) == "later":
            begun.set()
            assert go_on.wait(DEADLINE)
        return begin(prompt, sampling)

    monkeypatch.setattr(model, "generate", slow_begin)
    engine = Engine(model)
    await nursery.start(engine.run)
    async with trio.open_nursery() as requests:
        requests.start_soon(partial(engine.complete, ask("later"), priority=Priority.REFINE))
        await trio.to_thread.run_sync(begun.wait, DEADLINE)
        requests.start_soon(engine.complete, ask("now"))
        await until_waiting(engine)
        go_on.set()
    assert model.log == ["now", "later"]
    assert model.interrupts == 0


async def test_warming_gives_way_too(nursery: trio.Nursery, model: SteppedModel) -> None:
    engine = Engine(model)
    await nursery.start(engine.run)
    async with trio.open_nursery() as requests:
        requests.start_soon(engine.warm, ask("@0 warm"), 2)
        await model.wait_held()
        assert await engine.complete(ask("now"), priority=Priority.REFINE) == "now"
    assert model.log == ["(warm)", "now", "warm"]


async def test_scoring_gives_way_too(nursery: trio.Nursery, model: SteppedModel) -> None:
    engine = Engine(model)
    await nursery.start(engine.run)
    counts: list[int] = []

    async def score() -> None:
        counts.append(len(await engine.score(ask("@1 x"), ["a", "b", "c"], priority=Priority.DISTIL)))

    async with trio.open_nursery() as requests:
        requests.start_soon(score)
        await model.wait_held()
        assert await engine.complete(ask("now")) == "now"
    assert counts == [3]
    assert model.log == ["x", "(x)", "now", "x", "x"]


async def test_a_streamed_background_answer_gives_way_and_goes_on(nursery: trio.Nursery, model: SteppedModel) -> None:
    engine = Engine(model)
    await nursery.start(engine.run)
    async with engine.stream(ask("@1 a b c"), priority=Priority.REFINE) as pieces:
        assert await anext(pieces) == "a"
        await model.wait_held()
        assert await engine.complete(ask("now")) == "now"
        assert [piece async for piece in pieces] == [" b", " c"]
    assert model.log == ["a b c", "(a b c)", "now", "a b c", "a b c"]


async def test_equally_urgent_background_work_is_not_disturbed(nursery: trio.Nursery, model: SteppedModel) -> None:
    engine = Engine(model)
    await nursery.start(engine.run)
    async with trio.open_nursery() as requests:
        requests.start_soon(partial(engine.complete, ask("@0 first"), priority=Priority.REFINE))
        await model.wait_held()
        requests.start_soon(partial(engine.complete, ask("second"), priority=Priority.REFINE))
        await until_waiting(engine)
        model.let_go()
    assert model.log == ["first", "second"]
    assert model.interrupts == 0


async def test_interactive_requests_share_steps_up_to_the_models_width(nursery: trio.Nursery) -> None:
    model = SteppedModel(width=2)
    engine = Engine(model)
    await nursery.start(engine.run)
    async with trio.open_nursery() as requests:
        requests.start_soon(engine.complete, ask("@1 a a a"))
        await model.wait_held()
        requests.start_soon(engine.complete, ask("b b"))
        await until_waiting(engine, 1)
        requests.start_soon(engine.complete, ask("c"))
        await until_waiting(engine, 2)
        model.let_go()
    assert model.log == ["a a a", "a a a", "a a a + b b", "b b + c"]
    assert model.interrupts == 0  # who joins does not disturb


# -- those who leave


async def test_cancelling_a_waiting_request_removes_it(model: SteppedModel) -> None:
    engine = Engine(model)
    async with trio.open_nursery() as requests:
        requests.start_soon(engine.complete, ask("never"))
        await wait_all_tasks_blocked()
        assert engine.waiting == 1
        requests.cancel_scope.cancel()
    assert engine.waiting == 0
    await stop(engine)
    assert model.runs == []


@pytest.mark.parametrize("step", [0, 2])
@pytest.mark.parametrize("kind", ["complete", "score", "stream", "background"])
async def test_cancelling_a_running_request_ends_its_step(
    nursery: trio.Nursery, model: SteppedModel, kind: str, step: int
) -> None:
    engine = Engine(model)
    await nursery.start(engine.run)
    prompt = ask(f"@{step} a b c d")

    async def request() -> None:
        if kind == "score":
            await engine.score(prompt, ["a", "b", "c", "d"])
        elif kind == "stream":
            async with engine.stream(prompt) as pieces:
                async for _ in pieces:
                    pass
        else:
            await engine.complete(prompt, priority=Priority.REFINE if kind == "background" else Priority.INTERACTIVE)

    with trio.fail_after(DEADLINE):
        async with trio.open_nursery() as requests:
            requests.start_soon(request)
            await model.wait_held()
            requests.cancel_scope.cancel()
        assert await engine.complete(ask("next")) == "next"
    assert model.log == ["a b c d"] * step + ["(a b c d)", "next"]
    assert all(run.closed for run in model.runs)


async def test_cancelling_a_paused_request_closes_its_run(nursery: trio.Nursery, model: SteppedModel) -> None:
    engine = Engine(model)
    await nursery.start(engine.run)
    async with trio.open_nursery() as requests:
        async with trio.open_nursery() as background:
            background.start_soon(partial(engine.complete, ask("@0 paused"), priority=Priority.REFINE))
            await model.wait_held()
            requests.start_soon(engine.complete, ask("@0 one two"))
            await model.wait_held()
            background.cancel_scope.cancel()
        assert engine.waiting == 0
        assert model.interrupts == 1  # the one for the urgent request, which is not disturbed
        model.let_go()
    assert model.log == ["(paused)", "one two", "one two"]
    assert all(run.closed for run in model.runs)


async def test_one_who_leaves_does_not_take_the_others_along(nursery: trio.Nursery, model: SteppedModel) -> None:
    engine = Engine(model)
    await nursery.start(engine.run)
    async with engine.stream(ask("a b @")) as kept, engine.stream(ask("@1 x y z")):
        await model.wait_held()
        async with trio.open_nursery() as requests:
            requests.start_soon(engine.complete, ask("@0 leaves"))
            await until_waiting(engine)
            model.let_go()
            await model.wait_held()
            requests.cancel_scope.cancel()
        assert model.interrupts == 0
        model.let_go()
        assert [piece async for piece in kept][-1] == " @"


async def test_leaving_a_stream_stops_the_generation(nursery: trio.Nursery, model: SteppedModel) -> None:
    engine = Engine(model)
    await nursery.start(engine.run)
    with trio.fail_after(DEADLINE):
        async with engine.stream(ask("@1 a b")) as pieces:
            await model.wait_held()
        assert await anext(pieces) == "a"
        with pytest.raises(ModelError, match="withdrawn"):
            await anext(pieces)
        assert await engine.complete(ask("next")) == "next"
    assert model.log == ["a b", "(a b)", "next"]


async def test_timeouts_are_trios(autojump_clock: MockClock, nursery: trio.Nursery, model: SteppedModel) -> None:
    engine = Engine(model)
    await nursery.start(engine.run)
    with pytest.raises(trio.TooSlowError), trio.fail_after(30):
        await engine.complete(ask("@0 never"))
    assert trio.current_time() == 30
    nursery.cancel_scope.cancel()


async def test_a_cancelled_caller_does_not_wait_for_a_model_that_is_deaf(nursery: trio.Nursery) -> None:
    let_go, started = threading.Event(), threading.Event()

    def reply(prompt: Prompt, _: Sampling) -> str:
        started.set()
        if question(prompt) == "deaf":
            assert let_go.wait(DEADLINE)
        return question(prompt)

    engine = Engine(FakeModel(reply))
    await nursery.start(engine.run)
    async with trio.open_nursery() as requests:
        requests.start_soon(engine.complete, ask("deaf"))
        await trio.to_thread.run_sync(started.wait, DEADLINE)
        requests.cancel_scope.cancel()
    let_go.set()  # reached while the model still works
    assert await engine.complete(ask("next")) == "next"


# -- errors and bounds


async def test_an_error_reaches_its_caller_only(nursery: trio.Nursery) -> None:
    def reply(prompt: Prompt, _: Sampling) -> str:
        if question(prompt) == "bad":
            raise ZeroDivisionError
        return "good"

    engine = Engine(FakeModel(reply, context=20))
    await nursery.start(engine.run)
    with pytest.raises(ZeroDivisionError):
        await engine.complete(ask("bad"), Sampling(max_tokens=5))
    with pytest.raises(PromptTooLong, match="context is 20"):
        await engine.complete(ask("fine"), Sampling(max_tokens=500))
    assert await engine.complete(ask("fine"), Sampling(max_tokens=5)) == "good"


class Broken(SteppedModel):
    """Its steps fail while there is a run called ``bad``."""

    def step(self, runs: Sequence[Run]) -> None:
        super().step(runs)
        if "bad" in self.log[-1]:
            raise MemoryError


async def test_a_step_that_fails_fails_for_those_in_it_only(nursery: trio.Nursery) -> None:
    model = Broken(width=2)
    engine = Engine(model)
    outcomes: dict[str, str] = {}

    async def request(text: str) -> None:
        try:
            outcomes[text] = await engine.complete(ask(text))
        except MemoryError:
            outcomes[text] = "failed"

    async with trio.open_nursery() as requests:
        for text in ("bad one", "with it", "after it"):
            requests.start_soon(request, text)
            await wait_all_tasks_blocked()
        await nursery.start(engine.run)
    assert outcomes == {"bad one": "failed", "with it": "failed", "after it": "after it"}
    assert all(run.closed for run in model.runs)


@pytest.mark.parametrize("method", ["take", "close"])
async def test_a_run_that_fails_is_its_callers(nursery: trio.Nursery, model: SteppedModel, method: str) -> None:
    engine = Engine(model)

    def fail() -> None:
        raise OSError(method)

    outcomes: list[str] = []

    async def request() -> None:
        try:
            outcomes.append(await engine.complete(ask("@0 bad")))
        except OSError as error:
            outcomes.append(str(error))

    await nursery.start(engine.run)
    async with trio.open_nursery() as requests:
        requests.start_soon(request)
        await model.wait_held()
        setattr(model.runs[0], method, fail)
        model.let_go()
    assert outcomes == ["take" if method == "take" else "bad"]  # what was answered is answered
    assert await engine.complete(ask("next")) == "next"


async def test_the_queue_is_bounded_and_background_work_does_not_fill_it(nursery: trio.Nursery, model: SteppedModel) -> None:
    engine = Engine(model, max_waiting=2)
    for text in ("a", "b"):

        async def request(text: str = text) -> None:
            with pytest.raises(ModelError, match="stopping"):
                await engine.complete(ask(text), priority=Priority.REFINE)

        nursery.start_soon(request)
    await wait_all_tasks_blocked()
    with pytest.raises(QueueFull, match="2 requests wait"):
        await engine.complete(ask("c"), priority=Priority.REFINE)
    async with trio.open_nursery() as requests:
        requests.start_soon(engine.complete, ask("urgent"))
        await wait_all_tasks_blocked()
        assert engine.waiting == 3
        requests.cancel_scope.cancel()
    await stop(engine)


# -- streams


async def test_a_stream_gives_the_answer_in_pieces_and_why_it_ended(nursery: trio.Nursery) -> None:
    engine = Engine(FakeModel(lambda *_: "one two three"))
    await nursery.start(engine.run)
    async with engine.stream(ask("count")) as pieces:
        assert await anext(pieces) == "one"
        assert [piece async for piece in pieces] == [" two", " three"]
        assert pieces.finish == "stop"
    async with engine.stream(ask("count"), Sampling(max_tokens=2)) as pieces:
        assert [piece async for piece in pieces] == ["one", " two"]
        assert pieces.finish == "length"


async def test_a_stream_raises_what_the_model_raises(nursery: trio.Nursery) -> None:
    engine = Engine(FakeModel(context=10))
    await nursery.start(engine.run)
    async with engine.stream(ask("count"), Sampling(max_tokens=100)) as pieces:
        with pytest.raises(PromptTooLong):
            await anext(pieces)
        assert pieces.finish is None


async def test_a_slow_reader_holds_nobody_up(nursery: trio.Nursery, model: SteppedModel) -> None:
    engine = Engine(model)
    await nursery.start(engine.run)
    async with engine.stream(ask("a b c")) as pieces:
        assert await engine.complete(ask("one two three four")) == "one two three four"
        assert [piece async for piece in pieces] == ["a", " b", " c"]


async def test_many_pieces_come_in_order(nursery: trio.Nursery) -> None:
    words = [str(number) for number in range(2000)]
    engine = Engine(FakeModel(lambda *_: " ".join(words), context=5000))
    await nursery.start(engine.run)
    async with engine.stream(ask("count"), Sampling(max_tokens=3000)) as pieces:
        assert "".join([piece async for piece in pieces]).split() == words


# -- the end


@pytest.mark.parametrize("streamed", [False, True])
async def test_stopping_while_busy_tells_everyone_and_closes_all_runs(model: SteppedModel, *, streamed: bool) -> None:
    engine = Engine(model)
    outcomes: list[str] = []

    async def request(text: str, priority: Priority) -> None:
        try:
            if streamed:
                async with engine.stream(ask(text), priority=priority) as pieces:
                    await anext(pieces)
            else:
                await engine.complete(ask(text), priority=priority)
        except ModelError as error:
            outcomes.append(str(error))

    with trio.fail_after(DEADLINE):
        async with trio.open_nursery() as requests:
            async with trio.open_nursery() as worker:
                await worker.start(engine.run)
                requests.start_soon(request, "@0 paused", Priority.REFINE)
                await model.wait_held()
                requests.start_soon(request, "@0 running", Priority.DISTIL)
                await model.wait_held()
                requests.start_soon(request, "waiting", Priority.DISTIL)
                await until_waiting(engine, 2)
                worker.cancel_scope.cancel()
            assert [run.name for run in model.runs] == ["paused", "running"]
            assert all(run.closed for run in model.runs)
    assert len(outcomes) == 3
    assert all("stopping" in line for line in outcomes)
    assert engine.stopped
    with pytest.raises(ModelError, match="stopping"):
        await engine.complete(ask("late"))
    with pytest.raises(ModelError, match="stopping"):
        await engine.idle(1)


class Gone(BaseException):
    """What no model should raise."""


async def test_nobody_waits_for_an_engine_that_broke_down(model: SteppedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(runs: Sequence[Run]) -> None:
        raise Gone

    monkeypatch.setattr(model, "step", step)
    engine = Engine(model)

    async def request() -> None:
        with pytest.raises(ModelError, match="stopping"):
            await engine.complete(ask("x"))

    async with trio.open_nursery() as requests:
        requests.start_soon(request)
        await wait_all_tasks_blocked()
        with pytest.raises(BaseExceptionGroup) as caught:
            await engine.run()
    assert caught.group_contains(Gone)
    assert engine.stopped


async def test_one_thread_does_all_the_work(nursery: trio.Nursery, model: SteppedModel) -> None:
    engine = Engine(model)
    await nursery.start(engine.run)
    async with trio.open_nursery() as requests:
        for text in ("a b", "c d e"):
            requests.start_soon(engine.complete, ask(text))
            await trio.to_thread.run_sync(lambda: None)  # takes threads out of trio's store, and puts them back
    await engine.score(ask("x"), ["y"])
    assert len(model.threads) == 1
    assert threading.get_ident() not in model.threads


async def test_without_a_thread_a_virtual_clock_stands_still(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    engine = Engine(FakeModel(lambda *_: "one two"), in_thread=False)
    await nursery.start(engine.run)
    nursery.start_soon(trio.sleep, 3600)
    assert await engine.complete(ask("count")) == "one two"
    async with engine.stream(ask("count")) as pieces:
        assert [piece async for piece in pieces] == ["one", " two"]
    assert trio.current_time() == 0
    nursery.cancel_scope.cancel()


async def test_work_is_counted_by_priority(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    class Slow(FakeModel):
        def step(self, runs: Sequence[Run]) -> None:
            autojump_clock.jump(1.0)
            super().step(runs)

    engine = Engine(Slow(lambda *_: "one two three"), in_thread=False)
    await nursery.start(engine.run)
    await engine.complete(ask("count"), priority=Priority.REFINE)
    await trio.sleep(60)
    async with trio.open_nursery() as requests:  # two in the same steps
        requests.start_soon(engine.complete, ask("count"))
        requests.start_soon(engine.complete, ask("count"))
    assert engine.busy_by_priority == {
        Priority.INTERACTIVE: 3.0,
        Priority.DISTIL: 0.0,
        Priority.REFINE: 3.0,
        Priority.WARM: 0.0,
    }
    nursery.cancel_scope.cancel()


async def test_without_a_thread_others_have_their_turn_between_steps(nursery: trio.Nursery, model: SteppedModel) -> None:
    engine = Engine(model, in_thread=False)
    await nursery.start(engine.run)
    async with engine.stream(ask("a b c d"), priority=Priority.REFINE) as pieces:
        assert await anext(pieces) == "a"
        assert await engine.complete(ask("now")) == "now"
        assert [piece async for piece in pieces] == [" b", " c", " d"]
    assert model.log.index("now") < len(model.log) - 1
    assert model.interrupts == 0


# -- turns, warmth and idleness


async def test_a_turn_is_had_when_nothing_more_urgent_is_there(nursery: trio.Nursery, model: SteppedModel) -> None:
    engine = Engine(model)
    await engine.turn(Priority.REFINE)  # before the engine runs, even
    await nursery.start(engine.run)
    events: list[str] = []

    async def distil() -> None:
        await engine.complete(ask("@0 distil"), priority=Priority.DISTIL)
        events.append("distilled")

    async with trio.open_nursery() as requests:
        requests.start_soon(distil)
        await model.wait_held()
        await engine.turn(Priority.INTERACTIVE)  # does not wait for what is less urgent, nor disturb it
        events.append("urgent")
        assert model.interrupts == 0
        requests.start_soon(engine.turn, Priority.REFINE)
        await until_waiting(engine)
        model.let_go()
    assert events == ["urgent", "distilled"]
    assert model.log == ["distil"]


async def test_what_is_warm_is_not_warmed_again(nursery: trio.Nursery, model: SteppedModel) -> None:
    engine = Engine(model)
    await nursery.start(engine.run)
    await engine.warm(ask("a"), 4)
    await engine.warm(ask("a"), 4)
    await engine.warm(ask("a"), 5)
    assert model.log == ["a", "a"]
    assert model.calls == 2  # none for nothing
    assert model.statistics() == {"warmed": 2}


async def test_idle_is_when_nothing_was_asked_for_a_while(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    engine = Engine(FakeModel(), in_thread=False)
    await nursery.start(engine.run)
    await engine.idle(5)  # nothing was ever asked
    assert trio.current_time() == 0
    await engine.complete(ask("x"))
    nursery.start_soon(after, 3, partial(engine.complete, ask("y")))
    nursery.start_soon(after, 6, partial(engine.warm, ask("z"), 1))
    await engine.idle(5)
    assert trio.current_time() == 8
    nursery.cancel_scope.cancel()


async def after(seconds: float, work: partial[object]) -> None:
    await trio.sleep(seconds)
    await work()  # type: ignore[misc]


async def test_who_waits_for_idleness_waits_for_all_requests(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    engine = Engine(FakeModel(), in_thread=False)
    async with trio.open_nursery() as requests:
        requests.start_soon(engine.complete, ask("x"))
        await wait_all_tasks_blocked()
        with trio.move_on_after(60) as scope:
            await engine.idle(1)
        assert scope.cancelled_caught
        await nursery.start(engine.run)
    await engine.idle(1)
    assert trio.current_time() == 61
    nursery.cancel_scope.cancel()


# -- any mixture


@dataclass(frozen=True)
class Caller:
    """Comes after ``delay``, asks for ``words``, and leaves when it has ``patience`` of them."""

    priority: Priority
    delay: int
    words: int
    patience: int


CALLERS = st.builds(Caller, st.sampled_from(Priority), st.integers(0, 5), st.integers(1, 6), st.integers(0, 7))


@settings(max_examples=50, deadline=None)  # each starts an event loop, which other processes can hold up
@given(callers=st.lists(CALLERS, max_size=8), width=st.integers(1, 3))
def test_any_mixture_of_callers(callers: list[Caller], width: int) -> None:
    model = SteppedModel(width=width)

    async def call(engine: Engine, number: int, caller: Caller) -> None:
        await trio.sleep(caller.delay)
        words = [f"{number}.{word}" for word in range(caller.words)]
        got: list[str] = []
        async with engine.stream(ask(" ".join(words)), priority=caller.priority) as pieces:
            while len(got) < caller.patience:
                try:
                    got.append(await anext(pieces))
                except StopAsyncIteration:
                    assert pieces.finish == "stop"
                    break
        assert "".join(got) == " ".join(words[: caller.patience])

    async def main() -> None:
        engine = Engine(model, in_thread=False)
        async with trio.open_nursery() as nursery:
            await nursery.start(engine.run)
            async with trio.open_nursery() as calls:
                for number, caller in enumerate(callers):
                    calls.start_soon(call, engine, number, caller)
            assert engine.waiting == 0
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert all(run.closed for run in model.runs)


async def test_whether_something_is_warm_is_asked_of_the_model(nursery: trio.Nursery) -> None:
    engine = Engine(FakeModel())
    await nursery.start(engine.run)
    assert not await engine.is_warm(ask("a"), 3)
    await engine.warm(ask("a"), 3)
    assert await engine.is_warm(ask("a"), 3)
    assert not await engine.is_warm(ask("b"), 3)
