"""Refinement runs: every step leaves each experience active or stood for by an active one, and can be taken back."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from nacl.signing import SigningKey

from espeer import records
from espeer.errors import InputError
from espeer.interaction import Interaction
from espeer.keys import Offer, key_of
from espeer.lifecycle.refine import Standing
from espeer.lifecycle.runs import Runs
from espeer.records import Experience, Retraction, SignedRecord
from espeer.replica import Replica
from espeer.store import Store

Make = Callable[..., SignedRecord]
OWN, OTHER = SigningKey(bytes(range(32))), SigningKey(bytes(32))


def signed(record: Experience | Retraction, key: SigningKey) -> SignedRecord:
    return records.sign(record, lambda digest: key.sign(digest).signature)


def told(text: str, *sources: bytes, key: SigningKey = OTHER, method: str = "distilled", created: int = 1) -> SignedRecord:
    return signed(Experience("pumps", text, created, bytes(key.verify_key), "fake", method, sources), key)


def condensate(text: str, *sources: bytes, created: int = 1) -> SignedRecord:
    return told(text, *sources, key=OWN, method="condensed", created=created)


class Bench:
    """A replica with three experiences of one fault."""

    def __init__(self, path: Path) -> None:
        self.replica = Replica(Store.open(path), types=("pumps",), clock=lambda: 5)
        self.runs = Runs(self.replica, clock=lambda: 7)
        self.made = [told(f"E42 on the pump: purge line {number}.") for number in range(3)]
        self.ids = [record.id.hex() for record in self.made]
        self.replica.add(self.made, via="gossip")
        self.run = self.runs.begin("asked", scale="normalised", threshold=0.5).id

    def condense(self) -> SignedRecord:
        made = condensate("E42 on the pump: purge the lines.", *(record.id for record in self.made))
        assert self.runs.supersede(self.run, self.ids, made.id.hex(), new=made)
        return made

    def states(self) -> list[str]:
        return [self.replica.show(id_).state for id_ in self.ids]

    def recalled(self) -> set[str]:
        return {hit.id for hit in self.replica.recall("E42 on the pump", 9)}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "s.db")


def test_a_condensate_stands_for_its_sources_and_why_tells_so(bench: Bench) -> None:
    made = bench.condense()
    assert bench.recalled() == {made.id.hex()}
    assert bench.states() == ["superseded"] * 3
    why = bench.runs.why(made.id.hex())
    assert {held.id for held in why.sources} == set(bench.ids) == {held.id for held in why.stands_for}
    assert [(step.run, step.before, step.after) for step in why.steps] == [(bench.run, "", "active")]
    below = bench.runs.why(bench.ids[0])
    assert below.by == why.held
    assert [(step.before, step.after) for step in below.steps] == [("active", "superseded")]


def test_condensates_stay_here(bench: Bench) -> None:
    made = bench.condense()
    assert set(bench.replica.keys("pumps").ids()) == {record.id for record in bench.made}
    offer = bench.replica.offer("pumps", [made.id, bench.made[0].id])
    assert offer == Offer([records.encode(bench.made[0])], [])  # the originals are still offered


def test_a_survivor_stands_for_its_duplicates(bench: Bench) -> None:
    assert bench.runs.supersede(bench.run, bench.ids, bench.ids[1])
    assert bench.states() == ["superseded", "active", "superseded"]
    assert bench.recalled() == {bench.ids[1]}


def test_what_was_superseded_is_passed_on(bench: Bench) -> None:
    made = bench.condense()
    new = told("E42 again: purge.")
    bench.replica.add([new], via="gossip")
    last = condensate("E42: purge the line.", new.id, *(record.id for record in bench.made), created=2)
    assert bench.runs.supersede(bench.run, [made.id.hex(), new.id.hex()], last.id.hex(), new=last)
    assert {bench.replica.show(id_).by for id_ in (*bench.ids, made.id.hex(), new.id.hex())} == {last.id.hex()}


def test_nothing_is_done_when_a_member_has_gone_meanwhile(bench: Bench) -> None:
    bench.replica.add([signed(Retraction("pumps", bench.made[0].id, 2, bytes(OTHER.verify_key)), OTHER)], via="gossip")
    made = condensate("E42 on the pump: purge the lines.", *(record.id for record in bench.made))
    assert not bench.runs.supersede(bench.run, bench.ids, made.id.hex(), new=made)
    assert not bench.runs.supersede(bench.run, bench.ids[1:], bench.ids[0])
    assert bench.states() == ["retracted", "active", "active"]
    with pytest.raises(InputError):
        bench.replica.show(made.id.hex())


def test_undoing_a_run_brings_everything_back(bench: Bench) -> None:
    made = bench.condense()
    undone = bench.runs.undo(bench.run)
    assert (set(undone.restored), undone.taken_back, undone.lost) == (set(bench.ids), (made.id.hex(),), ())
    assert bench.states() == ["active"] * 3
    assert bench.recalled() == set(bench.ids)
    assert bench.replica.show(made.id.hex()).state == "undone"
    assert bench.runs.kept_apart() == {*bench.ids, made.id.hex()}
    with pytest.raises(InputError, match="was undone already"):
        bench.runs.undo(bench.run)
    with pytest.raises(InputError, match="no refinement run 99"):
        bench.runs.undo(99)


def test_runs_are_undone_from_the_last(bench: Bench) -> None:
    made = bench.condense()
    new = told("E42 again: purge.")
    bench.replica.add([new], via="gossip")
    second = bench.runs.begin("records", scale="normalised", threshold=0.5).id
    assert bench.runs.supersede(second, [made.id.hex(), new.id.hex()], new.id.hex())
    with pytest.raises(InputError, match=f"run {second} builds on run {bench.run}; undo that one first"):
        bench.runs.undo(bench.run)
    bench.runs.undo(second)
    assert bench.recalled() == {made.id.hex(), new.id.hex()}
    bench.runs.undo(bench.run)
    assert bench.recalled() == {*bench.ids, new.id.hex()}


def test_evicted_experiences_are_known_by_id_and_cannot_come_back(bench: Bench) -> None:
    made = bench.condense()
    before = bench.runs.size()
    bench.runs.evict(bench.run, [made.id.hex()])
    assert bench.runs.size() == before - sum(len(records.encode(record)) for record in [*bench.made, made])
    assert bench.states() == ["evicted"] * 3
    assert bench.recalled() == set()
    assert bench.replica.add(bench.made, via="sync") == []
    assert set(bench.replica.keys("pumps").ids()) == {record.id for record in bench.made}
    evicted = bench.made[0]
    assert bench.replica.offer("pumps", [evicted.id]) == Offer([], [key_of(evicted.record.created, evicted.id)])
    assert bench.replica.show(bench.ids[0]).experience is None
    undone = bench.runs.undo(bench.run)
    assert set(undone.lost) == {*bench.ids, made.id.hex()}
    assert bench.states() == ["evicted"] * 3


def test_freed_sources_stay_superseded_and_are_lost_when_the_run_is_undone(bench: Bench) -> None:
    made = bench.condense()
    freed = bench.runs.free_hidden(1)
    assert freed == len(records.encode(bench.made[0]))
    assert bench.states() == ["superseded"] * 3
    assert bench.recalled() == {made.id.hex()}
    assert bench.runs.why(made.id.hex()).sources[0].experience is None
    assert bench.runs.undo(bench.run).lost == (bench.ids[0],)
    assert bench.states() == ["evicted", "active", "active"]


def test_a_retracted_source_takes_its_condensate_along(bench: Bench) -> None:
    made = bench.condense()
    bench.replica.add([signed(Retraction("pumps", bench.made[1].id, 2, bytes(OTHER.verify_key)), OTHER)], via="gossip")
    assert bench.states() == ["active", "retracted", "active"]
    assert bench.recalled() == {bench.ids[0], bench.ids[2]}
    assert bench.replica.show(made.id.hex()).state == "undone"


def test_a_condensate_stands_for_its_own_again_when_the_one_above_it_is_taken_back(bench: Bench) -> None:
    made = bench.condense()
    late = told("E42 again: purge.")
    bench.replica.add([late], via="gossip")
    above = condensate("E42: purge the line.", late.id, *(record.id for record in bench.made), created=2)
    assert bench.runs.supersede(bench.run, [made.id.hex(), late.id.hex()], above.id.hex(), new=above)
    bench.replica.add([signed(Retraction("pumps", late.id, 2, bytes(OTHER.verify_key)), OTHER)], via="gossip")
    assert bench.recalled() == {made.id.hex()}
    assert {bench.replica.show(id_).by for id_ in bench.ids} == {made.id.hex()}


def test_a_retracted_survivor_lets_its_duplicates_speak_again(bench: Bench) -> None:
    bench.runs.supersede(bench.run, bench.ids, bench.ids[1])
    bench.replica.add([signed(Retraction("pumps", bench.made[1].id, 2, bytes(OTHER.verify_key)), OTHER)], via="gossip")
    assert bench.states() == ["active", "retracted", "active"]


def test_the_use_of_experiences_is_counted(bench: Bench) -> None:
    store = bench.replica.store
    for created, good in ((10, True), (20, True), (30, False)):
        answer = store.add_interaction(
            Interaction(0, created, "E42?", "Purge.", source="answer"), ready=False, used=[bench.made[0].id]
        )
        store.set_feedback(answer.id, feedback="", good=good, ready=False)
    bench.runs.supersede(bench.run, bench.ids[1:], bench.ids[2])
    standings = sorted(bench.runs.standings(), key=lambda standing: -standing.good)
    assert standings == [Standing(bench.ids[0], 5, 30, 2, 1, 1), Standing(bench.ids[2], 5, None, 0, 0, 1)]


class ViewMachine(RuleBasedStateMachine):
    """Any order of arrivals, retractions, merges, condensations, evictions and undoing."""

    made = Bundle("made")

    def __init__(self) -> None:
        super().__init__()
        self.replica = Replica(Store.open(Path(":memory:")), types=("pumps",), clock=lambda: 5)
        self.runs = Runs(self.replica, clock=lambda: 7)
        self.count = 0
        self.everything: list[SignedRecord] = []

    def active(self) -> list[str]:
        return sorted(self.replica.active("pumps"))

    @rule(target=made)
    def arrives(self) -> SignedRecord:
        self.count += 1
        record = told(f"E42 purge {self.count}", created=self.count)
        self.replica.add([record], via="gossip")
        self.everything.append(record)
        return record

    @rule(record=consumes(made))
    def is_retracted(self, record: SignedRecord) -> None:
        self.replica.add([signed(Retraction("pumps", record.id, 2, bytes(OTHER.verify_key)), OTHER)], via="gossip")

    @rule(share=st.floats(0.2, 1), condensed=st.booleans())
    def is_refined(self, share: float, *, condensed: bool) -> None:
        members = self.active()[: max(2, int(share * len(self.active())))]
        if len(members) < 2:
            return
        run = self.runs.begin("asked", scale="raw", threshold=1).id
        new = None
        if condensed:
            self.count += 1
            leaves = [
                leaf for member in members for leaf in (self.replica.experience(member).sources or (bytes.fromhex(member),))
            ]
            new = condensate(f"E42 condensed {self.count}", *leaves, created=self.count)
            self.everything.append(new)
        assert self.runs.supersede(run, members, new.id.hex() if new else members[0], new=new)

    @rule(which=st.integers(0, 9))
    def is_evicted(self, which: int) -> None:
        if active := self.active():
            run = self.runs.begin("capacity", scale="raw", threshold=1).id
            self.runs.evict(run, [active[which % len(active)]])

    @rule(size=st.integers(1, 500))
    def is_freed(self, size: int) -> None:
        self.runs.free_hidden(size)

    @rule(back=st.integers(0, 3))
    def is_undone(self, back: int) -> None:
        runs = self.runs.runs()
        if back < len(runs):
            with suppress(InputError):  # a later one builds on it, or it was undone already
                self.runs.undo(runs[back].id)

    @invariant()
    def every_experience_is_active_or_stood_for_or_gone(self) -> None:
        active = set(self.active())
        for record in self.everything:
            held = self.replica.show(record.id.hex())
            assert (held.state == "active") == (held.id in active)
            if held.state == "superseded":
                assert held.by in active
            else:
                assert held.by is None
            if held.state == "active":
                assert held.experience == record.record

    @invariant()
    def nothing_active_is_made_of_what_was_retracted(self) -> None:
        for key in self.active():
            for source in self.replica.experience(key).sources:
                assert self.replica.show(source.hex()).state != "retracted"

    @invariant()
    def the_index_is_what_the_store_says(self) -> None:
        fresh = Replica(self.replica.store, types=("pumps",), clock=lambda: 5)
        assert sorted(fresh.active("pumps")) == self.active()


TestViewMachine = ViewMachine.TestCase
TestViewMachine.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def test_a_run_tells_what_it_did_and_an_experience_which_answers_used_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "s.db")
    question = Interaction(0, 3, "E42, what now?", "Purge.", source="answer")
    first, second = (bench.replica.store.add_interaction(question, ready=False, used=[bench.made[0].id]) for _ in range(2))
    bench.replica.store.set_feedback(first.id, feedback="", good=False, ready=False)
    bench.condense()
    why = bench.runs.why(bench.ids[0])
    assert [(use.answer, use.at, use.question, use.good) for use in why.uses] == [
        (second.id, 3, question.query, None),
        (first.id, 3, question.query, False),
    ]
    assert why.received == 5
    assert bench.runs.why(bench.ids[1]).uses == ()
    run = bench.runs.run(bench.run)
    assert (run.made, run.superseded, run.evicted) == (1, 3, 0)
    later = bench.runs.begin("capacity", scale="normalised", threshold=0.5).id
    bench.runs.evict(later, sorted(bench.recalled()))
    assert (bench.runs.run(later).made, bench.runs.run(later).superseded, bench.runs.run(later).evicted) == (0, 0, 1)
