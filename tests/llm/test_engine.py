import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from espeer.errors import ModelError, PromptTooLong, QueueFull
from espeer.llm.engine import Engine, Priority
from espeer.llm.fake import FakeModel
from espeer.llm.model import Checkpoint, Message, Prompt, Sampling, Score

DEADLINE = 10.0


def ask(text: str) -> Prompt:
    return Prompt((Message("user", text),))


def question(prompt: Prompt) -> str:
    return prompt.messages[-1].content


class SlowModel(FakeModel):
    """Answers with the question, and works on ``hold ...`` until it is let go, with a checkpoint every millisecond."""

    def __init__(self) -> None:
        super().__init__(lambda prompt, _: question(prompt))
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.at_work = 0
        self.started = threading.Event()
        self.let_go = threading.Event()

    def generate(self, prompt: Prompt, sampling: Sampling, checkpoint: Checkpoint) -> Iterator[str]:
        self.at_work += 1
        assert self.at_work == 1, "two jobs use the model at once"
        try:
            self.begun.append(question(prompt))
            self.started.set()
            if question(prompt).startswith("hold"):
                for _ in range(int(DEADLINE * 1000)):
                    checkpoint()
                    if self.let_go.wait(0.001):
                        break
                else:
                    raise TimeoutError
            yield from super().generate(prompt, sampling, checkpoint)
            self.ended.append(question(prompt))
        finally:
            self.at_work -= 1

    async def wait_started(self) -> None:
        await trio.to_thread.run_sync(self.started.wait, DEADLINE)
        assert self.started.is_set()
        self.started.clear()


@pytest.fixture
def slow() -> Iterator[SlowModel]:
    model = SlowModel()
    yield model
    model.let_go.set()


async def test_answers_and_scores(nursery: trio.Nursery) -> None:
    engine = Engine(FakeModel(lambda prompt, _: f"you said {question(prompt)}"))
    await nursery.start(engine.run)
    assert await engine.complete(ask("hello there")) == "you said hello there"
    scores = await engine.score(ask("the pump leaks"), ["pump", "door"])
    assert scores[0].logprob > scores[1].logprob
    assert engine.waiting == 0


async def test_order_is_priority_then_arrival(nursery: trio.Nursery, slow: SlowModel) -> None:
    engine = Engine(slow)
    for text, priority in (
        ("r1", Priority.REFINE),
        ("d1", Priority.DISTIL),
        ("i1", Priority.INTERACTIVE),
        ("d2", Priority.DISTIL),
        ("i2", Priority.INTERACTIVE),
    ):

        async def request(text: str = text, priority: Priority = priority) -> None:
            await engine.complete(ask(text), priority=priority)

        nursery.start_soon(request)
        await wait_all_tasks_blocked()
    assert engine.waiting == 5
    async with trio.open_nursery() as worker:
        await worker.start(engine.run)
        while len(slow.ended) < 5:
            await trio.lowlevel.checkpoint()
        worker.cancel_scope.cancel()
    assert slow.ended == ["i1", "i2", "d1", "d2", "r1"]


@pytest.mark.parametrize(
    ("background", "urgent"),
    [(Priority.DISTIL, Priority.INTERACTIVE), (Priority.REFINE, Priority.INTERACTIVE), (Priority.REFINE, Priority.DISTIL)],
)
async def test_background_gives_way_and_is_done_again(
    nursery: trio.Nursery, slow: SlowModel, background: Priority, urgent: Priority
) -> None:
    engine = Engine(slow)
    await nursery.start(engine.run)
    answers: list[str] = []

    async def refine() -> None:
        answers.append(await engine.complete(ask("hold it"), priority=background))

    async with trio.open_nursery() as requests:
        requests.start_soon(refine)
        await slow.wait_started()
        assert await engine.complete(ask("now"), priority=urgent) == "now"
        slow.let_go.set()
    assert answers == ["hold it"]
    assert slow.begun == ["hold it", "now", "hold it"]
    assert slow.ended == ["now", "hold it"]


async def test_equally_urgent_work_is_not_disturbed(nursery: trio.Nursery, slow: SlowModel) -> None:
    engine = Engine(slow)
    await nursery.start(engine.run)
    async with trio.open_nursery() as requests:
        requests.start_soon(engine.complete, ask("hold first"))
        await slow.wait_started()
        requests.start_soon(engine.complete, ask("second"))
        while not engine.waiting:
            await trio.lowlevel.checkpoint()
        slow.let_go.set()
    assert slow.begun == ["hold first", "second"]


async def test_cancelling_a_waiting_request_removes_it(slow: SlowModel) -> None:
    engine = Engine(slow)
    async with trio.open_nursery() as requests:
        requests.start_soon(engine.complete, ask("never"))
        await wait_all_tasks_blocked()
        assert engine.waiting == 1
        requests.cancel_scope.cancel()
    assert engine.waiting == 0


async def test_cancelling_a_running_request_stops_it(nursery: trio.Nursery, slow: SlowModel) -> None:
    engine = Engine(slow)
    await nursery.start(engine.run)
    with trio.fail_after(DEADLINE):
        async with trio.open_nursery() as requests:
            requests.start_soon(engine.complete, ask("hold for ever"))
            await slow.wait_started()
            requests.cancel_scope.cancel()
        assert await engine.complete(ask("next")) == "next"
    assert slow.ended == ["next"]


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


async def test_the_queue_is_bounded_and_background_work_does_not_fill_it(nursery: trio.Nursery, slow: SlowModel) -> None:
    engine = Engine(slow, max_waiting=2)
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
    await stop_at_once(engine)


async def stop_at_once(engine: Engine) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await engine.run()


async def test_a_stream_gives_the_answer_in_pieces(nursery: trio.Nursery) -> None:
    engine = Engine(FakeModel(lambda *_: "one two three"))
    await nursery.start(engine.run)
    async with engine.stream(ask("count")) as pieces:
        assert [piece async for piece in pieces] == ["one", " two", " three"]


async def test_a_stream_raises_what_the_model_raises(nursery: trio.Nursery) -> None:
    engine = Engine(FakeModel(context=10))
    await nursery.start(engine.run)
    async with engine.stream(ask("count"), Sampling(max_tokens=100)) as pieces:
        with pytest.raises(PromptTooLong):
            await anext(pieces)


async def test_leaving_a_stream_stops_the_generation(nursery: trio.Nursery, slow: SlowModel) -> None:
    engine = Engine(slow)
    await nursery.start(engine.run)
    with trio.fail_after(DEADLINE):
        async with engine.stream(ask("hold for ever")):
            await slow.wait_started()
        assert await engine.complete(ask("next")) == "next"
    assert slow.ended == ["next"]


async def test_a_stream_does_not_give_way(nursery: trio.Nursery, slow: SlowModel) -> None:
    engine = Engine(slow)
    await nursery.start(engine.run)
    async with engine.stream(ask("hold it"), priority=Priority.REFINE) as pieces, trio.open_nursery() as requests:
        await slow.wait_started()
        requests.start_soon(engine.complete, ask("now"))
        while not engine.waiting:
            await trio.lowlevel.checkpoint()
        slow.let_go.set()
        assert [piece async for piece in pieces] == ["hold", " it"]
    assert slow.begun == ["hold it", "now"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_stopping_while_busy_tells_everyone(slow: SlowModel, *, streamed: bool) -> None:
    engine = Engine(slow)
    outcomes: list[str] = []

    async def request(text: str) -> None:
        try:
            if streamed:
                async with engine.stream(ask(text)) as pieces:
                    await anext(pieces)
            else:
                await engine.complete(ask(text))
        except ModelError as error:
            outcomes.append(str(error))

    with trio.fail_after(DEADLINE):
        async with trio.open_nursery() as requests:
            async with trio.open_nursery() as worker:
                await worker.start(engine.run)
                requests.start_soon(request, "hold running")
                await slow.wait_started()
                requests.start_soon(request, "waiting")
                while not engine.waiting:
                    await trio.lowlevel.checkpoint()
                worker.cancel_scope.cancel()
            assert slow.at_work == 0
    assert len(outcomes) == 2
    assert all("stopping" in line for line in outcomes)
    with pytest.raises(ModelError, match="stopping"):
        await engine.complete(ask("late"))


async def test_without_a_thread_a_virtual_clock_stands_still(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    engine = Engine(FakeModel(lambda *_: "one two"), in_thread=False)
    await nursery.start(engine.run)
    nursery.start_soon(trio.sleep, 3600)
    assert await engine.complete(ask("count")) == "one two"
    async with engine.stream(ask("count")) as pieces:
        assert [piece async for piece in pieces] == ["one", " two"]
    assert trio.current_time() == 0
    nursery.cancel_scope.cancel()
    assert autojump_clock.autojump_threshold == 0


class Meddler(FakeModel):
    """Calls ``at`` with the number of the checkpoint, at each."""

    def __init__(self, at: Callable[[int], None]) -> None:
        super().__init__()
        self.at = at

    def score(self, prompt: Prompt, continuations: Sequence[str], checkpoint: Checkpoint) -> list[Score]:
        for number in range(len(continuations)):
            self.at(number)
            checkpoint()
        return super().score(prompt, continuations, checkpoint)


async def test_scoring_gives_way_too(nursery: trio.Nursery) -> None:
    seen: list[int] = []

    def at(number: int) -> None:
        seen.append(number)
        if seen == [0, 1]:
            trio.from_thread.run_sync(nursery.start_soon, engine.complete, ask("now"))
            trio.from_thread.run(wait_all_tasks_blocked)

    engine = Engine(Meddler(at))
    await nursery.start(engine.run)
    assert len(await engine.score(ask("x"), ["a", "b", "c"], priority=Priority.DISTIL)) == 3
    assert seen == [0, 1, 0, 1, 2]
