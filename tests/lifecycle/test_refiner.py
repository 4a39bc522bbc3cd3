"""The refiner on a real store, in virtual time."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
import trio
import trio.testing
from bench_refiner import DUPLICATES, FAMILY, OTHERS, REPORTS, Bench, running, told

from espeer import records
from espeer.errors import InputError, ModelError
from espeer.interaction import Interaction
from espeer.lifecycle import refiner
from espeer.llm.engine import Priority
from espeer.llm.fake import FakeModel
from espeer.llm.model import Message, Prompt, Sampling
from espeer.records import Experience, Retraction, SignedRecord
from espeer.replica import Replica

T = TypeVar("T")
URGENT = Prompt((Message("user", "urgent"),))


async def automatic(bench: Bench) -> None:
    """Have it run by itself, as when enough is new."""
    bench.refiner._settings = replace(bench.refiner._settings, after=1)
    await bench.refiner._refine_if_due()


@pytest.fixture
def virtual_time(autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock jumps when all tasks wait, and does not know of threads: so there are none."""

    async def at_once(work: Callable[..., T], *args: object) -> T:
        await trio.lowlevel.checkpoint()
        return work(*args)

    monkeypatch.setattr(refiner, "in_thread", at_once)


async def test_a_run_condenses_what_is_alike_and_nothing_else(tmp_path: Path) -> None:
    async with running(Bench(tmp_path)) as bench:
        outcome = await bench.refiner.refine()
        assert (outcome.before, outcome.after) == (12, 8)
        assert outcome.condensed + outcome.extracted == 1
        assert outcome.merged == 1
        assert bench.states(FAMILY) == ["superseded"] * 4
        (head,) = {bench.head(place) for place in FAMILY}
        condensate = bench.replica.experience(head)
        assert {source.hex() for source in condensate.sources} == {bench.ids[place] for place in FAMILY}
        for fact in ("Orla-2", "K11", "5 seconds", "lid switch"):
            assert fact in condensate.text
        assert sorted(bench.states(DUPLICATES)) == ["active", "superseded"]
        assert bench.states(range(6, 12)) == ["active"] * 6
        assert [hit.id for hit in bench.replica.recall("The Orla-2 dryer stopped with K11, what now?", 1)] == [head]
        assert bench.refiner.runs.last() == bench.refiner.runs.run(outcome.run)


async def test_a_second_run_finds_nothing_more_to_do(tmp_path: Path) -> None:
    async with running(Bench(tmp_path)) as bench:
        await bench.refiner.refine()
        outcome = await bench.refiner.refine()
        assert (outcome.before, outcome.after, outcome.condensed, outcome.extracted, outcome.merged) == (8, 8, 0, 0, 0)


async def test_what_comes_later_joins_the_condensate_which_names_all_originals(tmp_path: Path) -> None:
    async with running(Bench(tmp_path)) as bench:
        await bench.refiner.refine()
        late = told("When the Orla-2 dryer stops with K11 after the lid was opened: press the lid switch 5 seconds.", 50)
        bench.replica.add([late], via="gossip")
        await automatic(bench)
        (head,) = {bench.head(place) for place in FAMILY} | {bench.replica.show(late.id.hex()).by}
        assert head is not None
        assert {source.hex() for source in bench.replica.experience(head).sources} == {
            *(bench.ids[place] for place in FAMILY),
            late.id.hex(),
        }


async def test_a_preview_changes_nothing_and_shows_what_a_run_does(tmp_path: Path) -> None:
    async with running(Bench(tmp_path)) as bench:
        proposals = await bench.refiner.preview()
        assert {(proposal.action, frozenset(proposal.members)) for proposal in proposals} == {
            ("condense", frozenset(bench.ids[place] for place in FAMILY)),
            ("merge", frozenset(bench.ids[place] for place in DUPLICATES)),
        }
        assert all(proposal.bytes_saved > 0 and 0.4 <= proposal.weakest <= 1 for proposal in proposals)
        assert bench.states(range(len(REPORTS))) == ["active"] * len(REPORTS)
        assert bench.refiner.runs.last() is None
        assert await bench.refiner.preview(threshold=1) != proposals
        assert await bench.refiner.preview(type="valves") == []


async def test_types_are_never_mixed(tmp_path: Path) -> None:
    async with running(Bench(tmp_path)) as bench:
        other = told(REPORTS[0], 60, type="valves")
        bench.replica.add([other], via="gossip")
        await bench.refiner.refine()
        assert bench.replica.show(other.id.hex()).state == "active"
        assert (await bench.refiner.refine(type="valves")).before == 9


async def test_the_raw_scale_needs_a_threshold_of_its_own(tmp_path: Path) -> None:
    async with running(Bench(tmp_path)) as bench:
        with pytest.raises(InputError, match="give a threshold with the scale 'raw'"):
            await bench.refiner.refine(scale="raw")
        assert (await bench.refiner.refine(scale="raw", threshold=1000)).after == 12
        assert (await bench.refiner.refine(scale="raw", threshold=3)).after == 8


async def test_it_runs_by_itself_when_enough_is_new_and_goes_on_doing_so(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, virtual_time: None
) -> None:
    async with running(Bench(tmp_path, after=12)) as bench, trio.open_nursery() as nursery:
        await nursery.start(bench.refiner.run)
        await trio.sleep(5)
        assert [run.reason for run in bench.refiner.runs.runs()] == ["records"]
        assert len(bench.replica) == 8
        await trio.sleep(200)
        assert len(bench.refiner.runs.runs()) == 1
        more = [told(f"Kestrel-3 loses oil after cleaning: tighten it to 12 Nm, {name}.", 90) for name in "abcdefghijkl"]
        bench.replica.add(more, via="sync")
        await trio.sleep(60)
        assert len(bench.refiner.runs.runs()) == 2
        assert len(bench.replica) < 20
        nursery.cancel_scope.cancel()


async def test_what_was_undone_is_left_alone_until_somebody_asks(tmp_path: Path) -> None:
    async with running(Bench(tmp_path)) as bench:
        outcome = await bench.refiner.refine()
        await bench.refiner.undo(outcome.run)
        assert bench.states(range(len(REPORTS))) == ["active"] * len(REPORTS)
        await automatic(bench)
        assert len(bench.replica) == 12
        assert (await bench.refiner.refine()).after == 8


async def test_an_interrupted_run_is_gone_on_with(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, virtual_time: None
) -> None:
    bench = Bench(tmp_path)
    begun = bench.refiner.runs.begin("records", scale="normalised", threshold=0.4)
    async with running(bench), trio.open_nursery() as nursery:
        await nursery.start(bench.refiner.run)
        await trio.sleep(5)
        (run,) = bench.refiner.runs.runs()
        assert run.id == begun.id
        assert run.finished is not None
        assert len(bench.replica) == 8
        nursery.cancel_scope.cancel()


async def test_a_question_is_answered_before_the_next_group(tmp_path: Path) -> None:
    order: list[str] = []

    def reply(prompt: Prompt, _: Sampling) -> str:
        order.append("asked" if prompt == URGENT else "refining")
        if len(order) == 1:
            nursery.start_soon(bench.engine.complete, URGENT, Sampling(max_tokens=5))
        return "no"

    async with trio.open_nursery() as nursery:
        bench = Bench(tmp_path, FakeModel(reply))
        async with running(bench):
            await bench.refiner.refine()
    assert order[:2] == ["refining", "asked"]
    assert len(order) > 2


async def test_background_work_waits_while_the_model_is_asked(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    events = []

    async def asks() -> None:
        await bench.engine.complete(URGENT, Sampling(max_tokens=5))
        events.append("answered")

    async def waits() -> None:
        await bench.engine.turn(Priority.REFINE)
        events.append("turn")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(asks)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(waits)
        await trio.testing.wait_all_tasks_blocked()
        async with running(bench):
            await trio.testing.wait_all_tasks_blocked()
    assert events == ["answered", "turn"]


async def test_over_budget_the_least_useful_go_after_refining(tmp_path: Path) -> None:
    async with running(Bench(tmp_path, max_records=5)) as bench:
        answer = bench.store.add_interaction(
            Interaction(0, bench.now, "E42?", "Purge.", source="answer"), ready=False, used=[bench.made[7].id]
        )
        bench.store.set_feedback(answer.id, feedback="", good=True, ready=False)
        outcome = await bench.refiner.refine()
        assert (outcome.after, outcome.evicted) == (5, 3)
        assert bench.replica.show(bench.ids[7]).state == "active"  # it was of use
        assert [held.state for held in map(bench.replica.show, bench.ids)].count("evicted") >= 3
        assert bench.replica.add(bench.made, via="sync") == []  # known by id


async def test_over_budget_in_bytes_superseded_texts_go_first(tmp_path: Path) -> None:
    async with running(Bench(tmp_path)) as bench:
        await bench.refiner.refine()
        size = bench.refiner.runs.size()
    tight = Bench(tmp_path, max_bytes=size - 100)
    async with running(tight):
        outcome = await tight.refiner.refine()
        assert outcome.freed >= 100
        assert outcome.evicted == 0
        assert outcome.after == 8
    tighter = Bench(tmp_path, max_bytes=size // 4)
    async with running(tighter):
        outcome = await tighter.refiner.refine()
        assert outcome.evicted > 0
        assert tighter.refiner.runs.size() <= size // 4


async def test_the_budget_is_kept_without_being_asked(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, virtual_time: None
) -> None:
    async with running(Bench(tmp_path, max_records=4)) as bench, trio.open_nursery() as nursery:
        await nursery.start(bench.refiner.run)
        await trio.sleep(500)
        assert len(bench.replica) == 4
        assert [run.reason for run in bench.refiner.runs.runs()] == ["capacity"]
        nursery.cancel_scope.cancel()


async def test_the_budget_is_kept_while_the_model_is_asked_without_end(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, virtual_time: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, max_records=4)

    async def never(_: Priority) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(bench.engine, "turn", never)
    async with running(bench), trio.open_nursery() as nursery:
        await nursery.start(bench.refiner.run)
        await trio.sleep(refiner.OVER_BUDGET_SECONDS - 1)
        assert len(bench.replica) == 12  # what is condensed need not be evicted
        await trio.sleep(62)
        assert len(bench.replica) == 4
        more = [told(f"Kestrel-3 loses oil after cleaning: tighten it to 12 Nm, {name}.", 90) for name in "abcdef"]
        bench.replica.add(more, via="gossip")
        await trio.sleep(refiner.OVER_BUDGET_SECONDS + 62)
        assert len(bench.replica) == 4
        monkeypatch.undo()
        nursery.cancel_scope.cancel()
    (run,) = bench.refiner.runs.runs()
    assert (run.finished, run.evicted) == (None, 14)


async def test_a_run_copes_with_what_is_evicted_while_it_is_at_work(tmp_path: Path) -> None:
    def reply(_: Prompt, __: Sampling) -> str:
        assert bench.refiner._at_work is not None
        bench.refiner.runs.evict(bench.refiner._at_work.run.id, [bench.ids[0]])
        return "no"

    bench = Bench(tmp_path, FakeModel(reply))
    async with running(bench):
        outcome = await bench.refiner.refine()
        assert bench.states(FAMILY) == ["evicted", "active", "active", "active"]
        assert (outcome.condensed, outcome.extracted, outcome.merged) == (0, 0, 1)
        assert (await bench.refiner.refine()).extracted == 1


async def test_sources_that_disagree_are_not_blended(tmp_path: Path) -> None:
    async with running(Bench(tmp_path)) as bench:
        texts = [
            ("When the Halven-8 lathe vibrates with T30 at full load, set the idler gap to 4 mm.", 1),
            ("The Halven-8 lathe vibrates with T30 at full load: set the idler gap to 4 mm.", 2),
            ("When the Halven-8 lathe vibrates with T30 at full load, set the idler gap to 6 mm.", 3),
        ]
        said = [told(text, 70 + author, author=author) for text, author in texts]
        bench.replica.add(said, via="gossip")
        outcome = await bench.refiner.refine()
        assert outcome.disputed == 1
        head = bench.replica.show(said[0].id.hex()).by
        assert head is not None
        assert {bench.replica.show(signed.id.hex()).by for signed in said} == {head}
        text = bench.replica.experience(head).text
        assert "4 mm" in text
        assert "6 mm" not in text
        assert "otherwise" in text or "disagree" in text


async def test_a_model_that_fails_keeps_neither_groups_nor_the_budget_waiting(tmp_path: Path) -> None:
    def reply(_: Prompt, __: Sampling) -> str:
        raise ModelError("out of order")

    async with running(Bench(tmp_path, FakeModel(reply), max_records=6)) as bench:
        outcome = await bench.refiner.refine()
        assert (outcome.extracted, outcome.condensed, outcome.after) == (1, 0, 6)
        assert bench.refiner.runs.unfinished() is None


async def test_whoever_stops_waiting_for_a_run_ends_it(tmp_path: Path) -> None:
    scope = trio.CancelScope()

    def reply(_: Prompt, __: Sampling) -> str:
        scope.cancel()
        return "no"

    async with running(Bench(tmp_path, FakeModel(reply))) as bench:
        with scope:
            await bench.refiner.refine(type="pumps")
        (run,) = bench.refiner.runs.runs()
        assert run.finished is not None
        assert bench.refiner.runs.unfinished() is None


async def test_a_run_about_one_type_leaves_the_others_to_the_next(tmp_path: Path) -> None:
    async with running(Bench(tmp_path)) as bench:
        others = [told(REPORTS[7] + "!" * number, 60, type="valves") for number in range(4)]
        bench.replica.add(others, via="gossip")
        await bench.refiner.refine(type="pumps")
        assert len(bench.replica.active("valves")) == 4
        await automatic(bench)
        assert len(bench.replica.active("valves")) == 1


async def test_most_authors_win_whenever_the_runs_come(tmp_path: Path) -> None:
    def said(minutes: int, author: int, number: int) -> SignedRecord:
        text = f"When the Halven-8 lathe vibrates with T30 at full load, wait for {minutes} minutes{'!' * number}"
        return told(text, number, author=author)

    async with running(Bench(tmp_path)) as bench:
        most = [said(5, author, author + 1) for author in range(3)]
        bench.replica.add(most, via="gossip")
        await bench.refiner.refine()
        few = [said(20, 3, 9)]
        bench.replica.add(few, via="gossip")
        await bench.refiner.refine()
        head = bench.replica.show(few[0].id.hex()).by
        assert head is not None
        assert "5 minutes" in bench.replica.experience(head).text


async def test_what_others_claim_of_their_sources_does_not_count(tmp_path: Path) -> None:
    async with running(Bench(tmp_path)) as bench:
        liar = OTHERS[1]
        text = "When the Halven-8 lathe vibrates with T30 at full load, wait for 20 minutes."
        invented = tuple(bytes([number]) * 32 for number in range(60))
        lie = Experience("pumps", text, 1, bytes(liar.verify_key), "fake", "condensed", invented)
        signed = records.sign(lie, lambda digest: liar.sign(digest).signature)
        truth = told("When the Halven-8 lathe vibrates with T30 at full load, wait for 5 minutes.", 2)
        bench.replica.add([signed, truth], via="gossip")
        await bench.refiner.refine()
        head = bench.replica.show(signed.id.hex()).by
        assert head is not None
        made = bench.replica.experience(head)
        assert "5 minutes" in made.text  # one against one: the newer
        assert set(made.sources) == {signed.id, truth.id}


async def test_retracted_texts_make_room_first_and_types_not_held_are_left_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    long = [told(f"{number} " + "word " * 300, number, type="valves") for number in range(20)]
    bench.replica.add(long, via="gossip")
    for signed in long:
        retraction = Retraction("valves", signed.id, 5, bytes(OTHERS[0].verify_key))
        bench.replica.add([records.sign(retraction, lambda digest: OTHERS[0].sign(digest).signature)], via="gossip")
    other = Replica(bench.store, types=("doors",), clock=lambda: 1)
    doors = [told(f"Door {number} jams: oil hinge {number}.", number, type="doors") for number in range(30)]
    other.add(doors, via="gossip")
    async with running(Bench(tmp_path, max_bytes=16 * 1024)) as tight:
        outcome = await tight.refiner.refine()
        assert outcome.freed > 0
        assert outcome.evicted == 0
        assert len(other) == len(other.experiences(limit=99)) == 30


async def test_what_is_retracted_while_its_group_is_condensed_stays_out(tmp_path: Path) -> None:
    def reply(_: Prompt, __: Sampling) -> str:
        retraction = Retraction("pumps", bench.made[0].id, 5, bytes(OTHERS[0].verify_key))
        bench.replica.add([records.sign(retraction, lambda digest: OTHERS[0].sign(digest).signature)], via="gossip")
        return "no"

    bench = Bench(tmp_path, FakeModel(reply))
    async with running(bench):
        await bench.refiner.refine()
        assert bench.states(range(1)) == ["retracted"]
        for key in bench.replica.active("pumps"):
            assert bench.made[0].id not in bench.replica.experience(key).sources


async def test_a_snapshot_of_the_index_is_brought_up_to_date_at_the_next_start(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.replica.save_index()
    async with running(bench):
        await bench.refiner.refine()
    again = Bench(tmp_path)  # the snapshot is older than the store
    assert sorted(again.replica.active("pumps")) == sorted(bench.replica.active("pumps"))
    assert again.replica.recall("Orla-2 K11", 3) == bench.replica.recall("Orla-2 K11", 3)
