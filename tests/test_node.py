"""A node as an embedder uses it, without a network and with the shipped fake model."""

import threading
from pathlib import Path

import pytest
import trio
import trio.testing

import espeer
from espeer import AskOptions, Config, FakeModel, Node, warming
from espeer.errors import ConfigError, InputError, ModelTimeout, PromptTooLong, StoreInUse
from espeer.folder import states_path
from espeer.llm.model import Prompt, Run, Sampling
from espeer.llm.spill import Spill
from espeer.llm.states import StateKey


def offline(folder: Path, **changes: object) -> Config:
    return Config(**({"data": folder, "offline": True, "episode_age": 1e6} | changes))  # type: ignore[arg-type]


def node_on(folder: Path, model: FakeModel | None = None, **changes: object) -> Node:
    return Node(offline(folder, **changes), model=model or FakeModel())


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


async def test_what_was_learnt_is_in_the_next_answer(tmp_path: Path) -> None:
    async with node_on(tmp_path) as node:
        learnt = await node.learn("Pump P7 shows E42 when cold.", feedback="Purge the line for 40 s.", wait=True)
        answer = await node.ask("Pump P7 shows E42. What now?")
        (used,) = answer.experiences
        assert used.id == learnt.experience
        assert used.experience.author == node.identity.public
        assert answer.type == "general"
        assert 0 <= answer.confidence <= 1
        assert answer.ttft_ms > 0
        assert "P7" in answer.text


async def test_nothing_fitting_means_plain_inference(tmp_path: Path) -> None:
    asked: list[Prompt] = []

    def reply(prompt: Prompt, _: Sampling) -> str:
        asked.append(prompt)
        return "Paris."

    async with node_on(tmp_path, FakeModel(reply)) as node:
        answer = await node.ask("What is the capital of France?")
        assert (answer.text, answer.experiences, answer.type) == ("Paris.", (), None)
        assert "Notes" not in asked[0].messages[-1].text


async def test_recall_can_be_switched_off_for_one_question(tmp_path: Path) -> None:
    async with node_on(tmp_path) as node:
        await node.learn("Pump P7 shows E42.", feedback="Purge.", wait=True)
        assert (await node.ask("Pump P7 shows E42?", recall=0)).experiences == ()


async def test_a_stream_gives_the_pieces_of_its_answer(tmp_path: Path) -> None:
    async with node_on(tmp_path, FakeModel(lambda *_: "one two three")) as node, node.stream("Count.") as stream:
        assert await anext(stream) == "one"
        pieces = [piece async for piece in stream]
        answer = await stream.answer()
        assert "one" + "".join(pieces) == answer.text == "one two three"


async def test_options_of_one_question(tmp_path: Path) -> None:
    async with node_on(tmp_path, FakeModel(lambda *_: "one two three four")) as node:
        assert (await node.ask("Count.")).finish == "stop"
        cut = await node.ask("Count.", options=AskOptions(max_tokens=3))
        assert (cut.text, cut.finish) == ("one two three", "length")
        assert (await node.ask("Count.", options=AskOptions(stop=("three",)))).text == "one two"


async def test_states_on_disk_are_of_what_the_node_knows_now(tmp_path: Path) -> None:
    def of(note: str) -> StateKey:
        return StateKey("a model", bytes(32), note, 0)

    def entries() -> list[bool]:
        spill = Spill(states_path(tmp_path), 1_000_000)
        return [of(note) in spill for note in (known, "f" * 64, "")]

    async with Node(offline(tmp_path, model="fake")) as node:
        learnt = await node.learn("Pump P7 shows E42 when cold.", feedback="Purge the line for 40 s.", wait=True)
        known = learnt.experience or ""
    for note in (known, "f" * 64, ""):
        assert Spill(states_path(tmp_path), 1_000_000).put(of(note), b"state")
    async with Node(offline(tmp_path, model="fake")):
        pass
    assert entries() == [True, False, True]


async def test_a_node_that_keeps_no_states_on_disk_removes_those_of_before(tmp_path: Path) -> None:
    assert Spill(states_path(tmp_path), 1_000_000).put(StateKey("a model", bytes(32), "", 0), b"state")
    for _ in range(2):
        async with Node(offline(tmp_path, model="fake", kv_disk_mb=0)):
            assert not states_path(tmp_path).exists()


async def test_a_node_has_a_timeout_of_its_own(tmp_path: Path) -> None:
    def never(*_: object) -> str:
        held.wait(10)
        return "too late"

    held = threading.Event()
    async with node_on(tmp_path, FakeModel(never), answer_seconds=0.05) as node:
        try:
            with pytest.raises(ModelTimeout, match=r"within 0\.05 s"):
                await node.ask("Count.")
        finally:
            held.set()


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf")])
def test_a_timeout_must_be_a_number_of_seconds(seconds: float) -> None:
    with pytest.raises(ConfigError, match="answer-seconds must be a number of seconds above 0"):
        Config(answer_seconds=seconds)


async def test_a_small_context_is_enough_for_everything(tmp_path: Path) -> None:
    async with node_on(tmp_path, FakeModel(context=256), context=256, types=("pumps", "valves")) as node:
        for n in range(4):
            reports = " ".join(f"On day {d} pump P{n} made a noise and showed E4{d}." for d in range(20))
            await node.learn(reports, feedback=f"Purge line {n} for 40 s.", wait=True)
        answer = await node.ask("What to do about pump P2?")
        assert answer.experiences
        assert answer.finish == "stop"
        assert (await node.choose("Which line for P2?", ["line 1", "line 2"])).experiences
        with pytest.raises(PromptTooLong, match=r"context of 256 tokens; shorten it: .* and 144 are free"):
            await node.ask("word " * 200)


async def test_idle_nodes_warm_what_they_hold_unless_told_not_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warming, "CALM_SECONDS", 0.0)
    monkeypatch.setattr(warming, "PAUSE_SECONDS", 0.0)
    told, heard = trio.open_memory_channel[Prompt](10)

    class Telling(FakeModel):
        def warm(self, prompt: Prompt, ranks: int) -> Run:
            trio.from_thread.run_sync(told.send_nowait, prompt)
            return super().warm(prompt, ranks)

    with trio.fail_after(10):
        async with node_on(tmp_path / "a", Telling()) as node:
            assert (await heard.receive()).messages[-1].notes == ()
            learnt = await node.learn("Pump P7 shows E42.", feedback="Purge.", wait=True)
            assert [note.id for note in (await heard.receive()).messages[-1].notes] == [learnt.experience]
    async with node_on(tmp_path / "b", Telling(), warming=False) as node:
        await node.learn("Pump P7 shows E42.", feedback="Purge.", wait=True)
        await node.ask("P7 shows E42?")
        await trio.testing.wait_all_tasks_blocked()
        assert (await node.status()).engine == {"warmed": 0}


async def test_a_stream_left_early_frees_the_model(tmp_path: Path) -> None:
    async with node_on(tmp_path, FakeModel(lambda *_: "word " * 100)) as node:
        async with node.stream("Talk.") as stream:
            await anext(stream)
        with trio.fail_after(5):
            assert (await node.ask("Again?")).text.startswith("word")


async def test_choices_are_scored_with_what_was_recalled(tmp_path: Path) -> None:
    async with node_on(tmp_path) as node:
        await node.learn("Pump P7 shows E42 when cold.", feedback="Purge the amber line.", wait=True)
        choice = await node.choose("Pump P7, E42: which line?", ["the green line", "the amber line"])
        assert (choice.index, choice.text) == (1, "the amber line")
        assert choice.confidence == max(choice.probabilities)
        assert sum(choice.probabilities) == pytest.approx(1)
        assert len(choice.experiences) == 1


async def test_the_way_to_choose_is_measured_once_per_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with node_on(tmp_path / "a") as node:
        measured = await node.calibrate()

    async def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("espeer.lifecycle.calibration.measure", never)
    async with node_on(tmp_path / "b") as node:
        assert await node.calibrate() == measured


@pytest.mark.parametrize("choices", [[], ["one"], ["one", " "], ["x"] * 27, "ab"])
async def test_choices_must_be_some(tmp_path: Path, choices: list[str]) -> None:
    async with node_on(tmp_path) as node:
        with pytest.raises(InputError, match=r"give 2 to 26 choices|a choice is empty"):
            await node.choose("Which?", choices)


async def test_feedback_with_a_text_is_learnt_from(tmp_path: Path) -> None:
    async with node_on(tmp_path, FakeModel(lambda *_: "No idea.")) as node:
        answer = await node.ask("What does E42 on pump P7 mean?")
        await node.feedback(answer.id, "Air in the line: purge it.")
        await node.feedback(answer.id, good=False)  # a second word on the same answer is no second interaction
        await node.flush()
        (held,) = await node.experiences()
        assert "purge" in held.experience.text


async def test_a_good_answer_is_learnt_unless_recall_gave_it(tmp_path: Path) -> None:
    async with node_on(tmp_path, FakeModel(lambda *_: "Purge the line.")) as node:
        first = await node.ask("What does E42 mean?")
        await node.feedback(first.id, good=True)
        await node.flush()
        second = await node.ask("What does E42 mean?")
        assert second.experiences
        await node.feedback(second.id, good=True)
        await node.flush()
        assert len(await node.experiences()) == 1


async def test_a_correction_that_comes_late_is_learnt_as_well(tmp_path: Path) -> None:
    async with node_on(tmp_path, FakeModel(lambda *_: "Purge the line.")) as node:
        answer = await node.ask("What does E42 mean?")
        await node.feedback(answer.id, good=True)
        await node.flush()
        await node.feedback(answer.id, "It was the seal after all.")
        await node.flush()
        newest, oldest = await node.experiences()
        assert "seal" in newest.experience.text
        assert "seal" not in oldest.experience.text


async def test_feedback_needs_an_answer_and_something_to_say(tmp_path: Path) -> None:
    async with node_on(tmp_path) as node:
        told = await node.learn("E42.")
        for wrong in (told.interaction, 999):
            with pytest.raises(InputError, match=f"there is no answer {wrong}"):
                await node.feedback(wrong, "text")
        with pytest.raises(InputError, match="give the feedback a text"):
            await node.feedback(1)


@pytest.mark.parametrize("bad", ["", "\x00", "x" * 9000])
async def test_bad_texts_are_refused_everywhere_and_nothing_is_stored(tmp_path: Path, bad: str) -> None:
    async with node_on(tmp_path) as node:
        for call in (node.ask, node.learn, node.recall):
            with pytest.raises(InputError):
                await call(bad)
        await node.flush()
        assert (await node.status()).records == ()


async def test_a_type_that_is_not_held_is_refused(tmp_path: Path) -> None:
    async with node_on(tmp_path) as node:
        for call in (node.ask, node.learn, node.recall):
            with pytest.raises(InputError, match="does not hold the type 'doors'"):
                await call("E42.", type="doors")


async def test_a_question_over_the_context_is_refused_in_words(tmp_path: Path) -> None:
    async with node_on(tmp_path, FakeModel(context=512)) as node:
        with pytest.raises(PromptTooLong, match="does not fit the model's context of 512 tokens"):
            await node.ask("why " * 600)


async def test_experiences_are_left_out_rather_than_the_context_overrun(tmp_path: Path) -> None:
    async with node_on(tmp_path, FakeModel(context=512), answer_tokens=100) as node:
        for number in range(3):
            await node.learn(f"Fault E42 number {number}: " + "check the seal " * 40, wait=True)
        answer = await node.ask("What about fault E42?")
        assert 0 < len(answer.experiences) < 3


async def test_the_folder_is_one_nodes_alone(tmp_path: Path) -> None:
    async with node_on(tmp_path):
        with pytest.raises(StoreInUse):
            async with node_on(tmp_path):
                pass


async def test_a_restart_remembers(tmp_path: Path) -> None:
    async with node_on(tmp_path) as node:
        await node.learn("Pump P7 shows E42.", feedback="Purge the line.")
        peer_id = node.identity.peer_id
    async with node_on(tmp_path) as node:
        await node.flush()
        assert node.identity.peer_id == peer_id
        assert len(await node.recall("E42")) == 1


async def test_a_node_is_used_inside_its_block_and_entered_once(tmp_path: Path) -> None:
    node = node_on(tmp_path)
    with pytest.raises(RuntimeError, match="use it inside `async with"):
        await node.ask("Why?")
    async with node:
        with pytest.raises(RuntimeError, match="entered once"):
            async with node:
                pass
        await node.ask("Why?")
    with pytest.raises(RuntimeError, match="use it inside `async with"):
        await node.ask("Why?")


async def test_what_the_block_raises_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with node_on(tmp_path):
            raise ZeroDivisionError


async def test_cancelling_the_block_closes_the_node(tmp_path: Path) -> None:
    with trio.move_on_after(0.2) as scope:
        async with node_on(tmp_path):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    async with node_on(tmp_path):
        pass


async def test_two_nodes_share_what_one_learns(tmp_path: Path) -> None:
    def config(name: str, *bootstrap: str) -> Config:
        return Config(data=tmp_path / name, types=("pumps",), bootstrap=bootstrap, episode_age=1e6)

    async with Node(config("a"), model=FakeModel()) as a, Node(config("b", *a.addresses()), model=FakeModel()) as b:
        learnt = await a.learn("Pump P7 shows E42.", feedback="Purge the line.", wait=True)
        with trio.fail_after(30):
            while not (hits := await b.recall("P7 E42")):
                await trio.lowlevel.checkpoint()
        assert hits[0].id == learnt.experience
        assert hits[0].experience.author == a.identity.public
        assert [peer.peer_id for peer in b.peers()] == [a.identity.peer_id]


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ({"types": tuple(f"t{n}" for n in range(65))}, "types"),
        ({"types": ("a", "a")}, "types"),
        ({"types": ("Pumps",)}, "type 'Pumps'"),
        ({"network": "my net"}, "network 'my net'"),
        ({"threads": 0}, "threads is 0"),
        ({"context": 10}, "context is 10"),
        ({"episode_age": 0.0}, "episode-age"),
    ],
)
def test_settings_that_cannot_work_are_refused(setting: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Config(**setting)  # type: ignore[arg-type]


def test_the_public_face_is_sorted_whole_and_documented() -> None:
    assert espeer.__all__ == sorted(espeer.__all__)
    for name in espeer.__all__:
        assert getattr(espeer, name).__doc__, name
    with pytest.raises(AttributeError):
        _ = espeer.nothing


LESSONS = (
    ("The Orla-2 dryer stops with K11 after its lid was opened.", "Press the lid switch for 5 seconds."),
    ("Orla-2 dryer stopped and shows K11 after the lid was opened.", "Pressing its lid switch for 5 seconds helps."),
    ("The Orla-2 dryer shows K11 after opening the lid and stops.", "Keep the lid switch pressed for 5 seconds."),
    ("The Tamsin-7 crane trips its breaker at night.", "Dry the silver plug."),
)


async def test_a_node_refines_when_asked_tells_why_and_takes_it_back(tmp_path: Path) -> None:
    async with node_on(tmp_path, refine_threshold=0.3) as node:
        ids = []
        for text, cure in LESSONS:
            ids.append((await node.learn(text, feedback=cure, wait=True)).experience or "")
        (proposal,) = await node.preview_refinement()
        assert set(proposal.members) == set(ids[:3])
        outcome = await node.refine()
        assert (outcome.before, outcome.after) == (4, 2)
        why = await node.why(ids[0])
        assert why.by is not None
        assert why.by.state == "active"
        assert (await node.ask("The Orla-2 shows K11, what now?")).experiences[0].id == why.by.id
        assert [run.id for run in await node.refinements()] == [outcome.run]
    async with node_on(tmp_path, refine_threshold=0.3) as node:  # it is all on disk
        assert (await node.why(ids[0])).by == why.by
        assert set((await node.undo_refinement(outcome.run)).restored) == set(ids[:3])
        assert {held.id for held in await node.experiences()} == set(ids)
        with pytest.raises(InputError, match="does not hold the type 'doors'"):
            await node.refine(type="doors")


async def test_a_node_keeps_its_budget_by_itself(tmp_path: Path) -> None:
    async with node_on(tmp_path) as node:
        for number in range(6):
            await node.learn(f"Pump P{number} shows E{number}.", feedback=f"Turn valve V{number}.", wait=True)
    async with node_on(tmp_path, max_records=3) as node:
        with trio.fail_after(20):
            while len(await node.experiences()) > 3:  # noqa: ASYNC110 - a condition with a deadline; nobody sets an event
                await trio.sleep(0.02)
        assert [run.reason for run in await node.refinements()] == ["capacity"]


async def test_the_index_comes_back_from_its_snapshot_and_follows_other_settings(tmp_path: Path) -> None:
    async with node_on(tmp_path) as node:
        await node.learn("The pumps leak.", feedback="Replace the seals.", wait=True)
    assert (tmp_path / "espeer.index").stat().st_mode & 0o777 == 0o600
    async with node_on(tmp_path) as node:
        assert len(await node.recall("leaking pump")) == 1
    async with node_on(tmp_path, language=None) as node:
        assert await node.recall("leaking pump") == []
        assert len(await node.recall("pumps")) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"refine_threshold": 0}, "refine-threshold: the threshold must be above 0"),
        ({"refine_threshold": float("nan")}, "refine-threshold: the threshold must be above 0"),
        ({"refine_threshold": 1.5}, "at most 1 on the normalised scale"),
        ({"refine_scale": "raw"}, "at least 1 on the raw scale"),
        ({"refine_scale": "cosine"}, "refine-scale is 'cosine'; give normalised or raw"),
        ({"max_records": 0}, "max-records is 0; the least is 1"),
        ({"max_bytes": 10}, "max-bytes is 10; the least is"),
        ({"b": 2.0}, "b from 0 to 1"),
        ({"k1": float("inf")}, "k1 must be at least 0"),
        ({"language": "klingon"}, "language 'klingon' is none of"),
    ],
)
def test_settings_of_recall_and_refinement_that_cannot_work(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        offline(tmp_path, **changes)
