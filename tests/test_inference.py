"""Asking, above a model that takes a second of a virtual clock for each word."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from espeer.asking import AskOptions
from espeer.conversation import Conversation, Turn, read
from espeer.errors import ModelTimeout, PromptTooLong
from espeer.inference import Answer, Inference
from espeer.lifecycle import prompts
from espeer.llm.engine import Engine
from espeer.llm.fake import FakeModel
from espeer.llm.model import Prompt, Run, Sampling
from espeer.recall import Recall, Recalled
from espeer.records import Experience
from espeer.replica import Hit


class SlowModel(FakeModel):
    """A word, or a scored continuation, takes a second."""

    def __init__(self, clock: MockClock, reply: str | Callable[[Prompt, Sampling], str], *, context: int = 2048) -> None:
        super().__init__(reply if callable(reply) else lambda *_: reply, context=context)
        self.clock = clock
        self.asked: list[tuple[Prompt, Sampling]] = []
        self.scored: list[Prompt] = []

    def generate(self, prompt: Prompt, sampling: Sampling) -> Run:
        self.asked.append((prompt, sampling))
        return super().generate(prompt, sampling)

    def score(self, prompt: Prompt, continuations: Sequence[str]) -> Run:
        self.scored.append(prompt)
        return super().score(prompt, continuations)

    def step(self, runs: Sequence[Run]) -> None:
        self.clock.jump(1.0)
        super().step(runs)


class Held:
    """Recalls what it holds, after some seconds."""

    def __init__(self, *texts: str, seconds: float = 0.0, waited: float = 0.0) -> None:
        self.hits = tuple(
            Hit(f"{n:064x}", Experience("pumps", t, 1, bytes(32), "fake", "distilled"), 9 - n, 1) for n, t in enumerate(texts)
        )
        self.seconds = seconds
        self.waited = waited

    async def recall(self, _: str, k: int, *, type: str | None) -> Recalled:
        assert type is None
        await trio.sleep(self.seconds)
        return Recalled(self.hits[:k], waited=self.waited)


class Asking:
    """An inference with its engine; keeps what is captured."""

    def __init__(self, model: FakeModel, held: Held | None = None, *, tokens: int = 128, seconds: float | None = None) -> None:
        self.engine = Engine(model, in_thread=False)
        recall = cast("Recall", held or Held())
        self.inference = Inference(self.engine, recall, answer_tokens=tokens, answer_seconds=seconds)
        self.captured: list[str] = []

    async def capture(self, _: str, response: str, __: Sequence[Hit]) -> int:
        self.captured.append(response)
        return len(self.captured)

    async def ask(self, question: str, **options: object) -> Answer:
        async with (
            trio.open_nursery() as nursery,
            self.inference.stream(
                Conversation(question),
                recall=3,
                type=None,
                options=AskOptions(**options),
                capture=self.capture,  # type: ignore[arg-type]
            ) as stream,
        ):
            await nursery.start(self.engine.run)
            answer = await stream.answer()
            nursery.cancel_scope.cancel()
        return answer


@pytest.fixture
def clock(autojump_clock: MockClock) -> MockClock:
    return autojump_clock


async def test_an_answer_says_why_it_ended(clock: MockClock) -> None:
    asking = Asking(SlowModel(clock, "one two three END four"))
    assert (await Asking(SlowModel(clock, "one two")).ask("Count.")).finish == "stop"
    cut = await asking.ask("Count.", stop=(" END",))
    assert (cut.text, cut.finish) == ("one two three", "stop")


async def test_an_answer_at_its_most_tokens(clock: MockClock) -> None:
    answer = await Asking(SlowModel(clock, "one two three")).ask("Count.", max_tokens=2)
    assert (answer.text, answer.finish) == ("one two", "length")


async def test_the_parts_make_up_the_time_to_the_first_token(clock: MockClock) -> None:
    model = SlowModel(clock, "one two")
    model.width = 1  # type: ignore[misc]
    asking = Asking(model, Held("Kestrel-3: clean the filter.", seconds=3, waited=2))
    timings = []

    async def ask(question: str) -> None:
        conversation, options = Conversation(question), AskOptions()
        async with asking.inference.stream(conversation, recall=3, type=None, options=options, capture=None) as stream:
            answer = await stream.answer()
        timings.append(answer.timing)
        assert sum(dataclasses.astuple(answer.timing)) == pytest.approx(answer.ttft_ms)

    async with trio.open_nursery() as nursery:
        await nursery.start(asking.engine.run)
        async with trio.open_nursery() as asked:
            asked.start_soon(ask, "Kestrel-3?")
            asked.start_soon(ask, "Kestrel-3?")
        nursery.cancel_scope.cancel()
    first, second = sorted(timings, key=lambda timing: timing.queue)
    for timing in timings:
        assert (timing.recall, timing.network, timing.classify, timing.pack) == pytest.approx((1000, 2000, 0, 0))
    assert (first.queue, second.queue) == (0, 2000), "two words were written before it was the second's turn"
    assert all(1000 <= timing.prefill <= 2000 for timing in timings), "a step, and perhaps one until the reader's turn"


async def test_options_reach_the_model(clock: MockClock) -> None:
    model = SlowModel(clock, "one")
    await Asking(model).ask("Count.", temperature=0.7, seed=5, stop=("x", "y"), max_tokens=9)
    assert model.asked[0][1] == Sampling(max_tokens=9, temperature=0.7, seed=5, stop=("x", "y"))


async def test_without_a_seed_each_question_has_another(clock: MockClock) -> None:
    model = SlowModel(clock, "one")
    for _ in range(3):
        await Asking(model).ask("Count.", temperature=1.0)
    assert len({sampling.seed for _, sampling in model.asked}) == 3


async def test_when_the_time_is_over_the_answer_is_what_is_there(clock: MockClock) -> None:
    model = SlowModel(clock, "one two three four")
    asking = Asking(model)
    answer = await asking.ask("Count.", timeout=2.5)
    assert (answer.finish, answer.confidence) == ("time", None)
    assert answer.text in ("one two", "one two three")  # the step that began in time is taken along
    assert asking.captured == [answer.text]
    assert model.scored == []


async def test_the_nodes_timeout_is_the_one_of_a_question_that_has_none(clock: MockClock) -> None:
    assert (await Asking(SlowModel(clock, "one two three four"), seconds=2.5).ask("Count.")).finish == "time"
    assert (await Asking(SlowModel(clock, "one two three four"), seconds=2.5).ask("Count.", timeout=99.0)).finish == "stop"


async def test_an_answer_that_ended_in_time_may_go_without_a_confidence(clock: MockClock) -> None:
    answer = await Asking(SlowModel(clock, "one two")).ask("Count.", timeout=3.0)
    assert (answer.text, answer.finish, answer.confidence) == ("one two", "stop", None)


async def test_nothing_in_time_is_an_error(clock: MockClock) -> None:
    asking = Asking(SlowModel(clock, "one"))
    started = trio.current_time()
    with pytest.raises(ModelTimeout, match=r"did not begin to answer within 1.5 s; allow it more"):
        async with asking.inference.stream(
            Conversation("Count."), recall=0, type=None, options=AskOptions(timeout=1.5), capture=asking.capture
        ) as stream:  # the engine does not run: others have it
            await stream.answer()
    assert trio.current_time() - started == pytest.approx(1.5)
    assert asking.captured == []


async def test_recall_counts_too(clock: MockClock) -> None:
    asking = Asking(SlowModel(clock, "one"), Held("Use port 2.", seconds=5.0))
    with pytest.raises(ModelTimeout):
        async with asking.inference.stream(
            Conversation("Count."), recall=3, type=None, options=AskOptions(timeout=2.0), capture=asking.capture
        ):
            raise AssertionError


async def test_recalled_experiences_are_notes_by_their_ids(clock: MockClock) -> None:
    model = SlowModel(clock, "Port 2.")
    held = Held("Use port 2.", "Mind the gap.")
    answer = await Asking(model, held).ask("Which port?")
    assert answer.experiences == held.hits
    assert [note.id for note in model.asked[0][0].messages[-1].notes] == [hit.id for hit in held.hits]
    assert model.scored[0].messages[:2] == model.asked[0][0].messages


async def test_an_experience_too_long_is_shortened_at_the_end_of_a_sentence(clock: MockClock) -> None:
    long = " ".join(f"Sentence number {n} of the long one." for n in range(30))
    model = SlowModel(clock, "ok", context=256)
    answer = await Asking(model, Held(long, "Short.")).ask("Which port?")
    first, *_ = model.asked[0][0].messages[-1].notes
    assert first.text.endswith("of the long one.\n")
    assert first.id == f"{answer.experiences[0].id}:{len(first.text) - len('- ' + chr(10))}"
    assert answer.experiences[0].experience.text == long
    assert model.size(model.asked[0][0]) <= 256 - 64 - 48


@pytest.mark.parametrize(
    ("context", "wanted", "given"), [(2048, 128, 128), (256, 128, 128), (256, 10_000, 256 - 48), (2048, 5000, 2000)]
)
async def test_an_answer_has_what_room_nobody_else_needs(clock: MockClock, context: int, wanted: int, given: int) -> None:
    model = SlowModel(clock, "ok", context=context)
    await Asking(model).ask("Which?", max_tokens=wanted)
    prompt, sampling = model.asked[0]
    assert sampling.max_tokens == min(wanted, context - 48 - model.size(prompt))
    assert sampling.max_tokens <= given


async def test_a_question_longer_than_the_context_is_one_clear_line(clock: MockClock) -> None:
    asking = Asking(SlowModel(clock, "ok", context=256))
    with pytest.raises(
        PromptTooLong, match=r"does not fit the model's context of 256 tokens; shorten it: .* and 144 are free"
    ) as caught:
        async with asking.inference.stream(
            Conversation("word " * 300), recall=0, type=None, options=AskOptions(), capture=asking.capture
        ):
            raise AssertionError
    assert "\n" not in str(caught.value)


async def test_an_answer_too_long_to_be_read_again_is_judged_by_its_beginning(clock: MockClock) -> None:
    class Swelling(SlowModel):
        def score(self, prompt: Prompt, continuations: Sequence[str]) -> Run:
            if len(prompt.messages[2].text) > 20:
                raise PromptTooLong("the prompt does not fit")
            return super().score(prompt, continuations)

    model = Swelling(clock, "word " * 20)
    answer = await Asking(model).ask("Talk.")
    assert answer.confidence is not None
    assert 0 <= answer.confidence <= 1
    assert len(model.scored) == 1
    assert not math.isnan(answer.confidence)


def turns(*texts: str) -> tuple[Turn, ...]:
    return tuple(Turn("assistant" if n % 2 else "user", text) for n, text in enumerate(texts))


async def put(asking: Asking, asked: Conversation, *, capture: bool = True, **options: object) -> Answer:
    async with (
        trio.open_nursery() as nursery,
        asking.inference.stream(
            asked,
            recall=3,
            type=None,
            options=AskOptions(**options),  # type: ignore[arg-type]
            capture=asking.capture if capture else None,
        ) as stream,
    ):
        await nursery.start(asking.engine.run)
        answer = await stream.answer()
        nursery.cancel_scope.cancel()
    return answer


@pytest.mark.parametrize("held", [(), ("Use port 2.", "Mind the gap.")])
async def test_a_question_alone_has_the_prompt_that_is_kept_warm(clock: MockClock, held: tuple[str, ...]) -> None:
    model = SlowModel(clock, "ok")
    await put(Asking(model, Held(*held)), read([Turn("user", "Which port?")]))
    notes = [prompts.note(f"{n:064x}", text) for n, text in enumerate(held)]
    assert model.asked[0][0] == prompts.ask("Which port?", notes)


async def test_a_conversation_goes_on_from_the_same_notes(clock: MockClock) -> None:
    model = SlowModel(clock, "ok")
    asked = Conversation("And then?", "", turns("Which port?", "Port 2."))
    await put(Asking(model, Held("Use port 2.")), asked)
    system, first, *others = model.asked[0][0].messages
    alone = prompts.ask("Which port?", [prompts.note("0" * 64, "Use port 2.")]).messages
    assert (system, first) == alone
    assert [(turn.role, turn.text) for turn in others] == [("assistant", "Port 2."), ("user", "And then?")]


async def test_a_task_takes_the_place_of_the_usual_one(clock: MockClock) -> None:
    model = SlowModel(clock, "ok")
    await put(Asking(model), Conversation("Which port?", "Talk like a pirate."))
    await put(Asking(model, Held("Use port 2.")), Conversation("Which port?", "Talk like a pirate."))
    plain, noted = (prompt.messages[0].text for prompt, _ in model.asked)
    assert plain == "Talk like a pirate."
    assert noted.startswith("Talk like a pirate.\n\n")
    assert "notes" in noted


async def test_what_does_not_fit_of_a_conversation_is_its_oldest(clock: MockClock) -> None:
    model = SlowModel(clock, "ok", context=256)
    earlier = turns(*(f"turn {n} " + "word " * 18 for n in range(40)))
    asking = Asking(model, Held("Use port 2."))
    await put(asking, Conversation("Which port?", "Be brief.", earlier))
    (prompt, sampling), *_ = model.asked
    assert model.size(prompt) <= 256 - 64 - 48
    assert sampling.max_tokens >= 64
    system, first, *others = prompt.messages
    assert system.text.startswith("Be brief.")
    assert [note.text for note in first.notes] == ["- Use port 2.\n"]
    assert first.role == "user"
    assert first.content.split()[:2] == ["turn", str(40 - len(others))]
    assert len(others) in (2, 4, 6)  # 20 words a turn
    assert others[-1].text == "Which port?"
    assert model.size(prompt) + 40 > 256 - 64 - 48  # two more would not have fitted


async def test_a_last_turn_that_fills_the_context_is_left_out_whole(clock: MockClock) -> None:
    model = SlowModel(clock, "ok", context=256)
    await put(Asking(model), Conversation("Which port?", "", turns("Hello.", "word " * 300)))
    assert model.asked[0][0] == prompts.ask("Which port?", ())


async def test_only_the_question_is_recalled_for_and_captured(clock: MockClock) -> None:
    class Listening(Held):
        async def recall(self, query: str, k: int, *, type: str | None) -> Recalled:
            assert query == "And then?"
            return await super().recall(query, k, type=type)

    captured: list[str] = []

    async def capture(question: str, response: str, _: Sequence[Hit]) -> int:
        captured.extend((question, response))
        return 1

    asking = Asking(SlowModel(clock, "Then port 3."), Listening("Use port 2."))
    asking.capture = capture  # type: ignore[method-assign]
    await put(asking, Conversation("And then?", "Be brief.", turns("Which port?", "Port 2.")))
    assert captured == ["And then?", "Then port 3."]


async def test_without_capture_an_answer_has_no_number(clock: MockClock) -> None:
    asking = Asking(SlowModel(clock, "one"))
    assert (await put(asking, Conversation("Count."), capture=False)).id is None
    assert asking.captured == []


async def test_tokens_are_counted_as_they_are_read(clock: MockClock) -> None:
    model = SlowModel(clock, "one two")
    answer = await put(Asking(model, Held("Use port 2.")), Conversation("Which port?"))
    assert answer.prompt_tokens == model.size(model.asked[0][0])
    assert answer.answer_tokens == 2


async def test_a_form_reaches_the_model(clock: MockClock) -> None:
    model = SlowModel(clock, "yes")
    await put(Asking(model), Conversation("Well?"), grammar='root ::= "yes" | "no"')
    assert model.asked[0][1].grammar == 'root ::= "yes" | "no"'
