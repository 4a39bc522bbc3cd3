"""KV states in memory: what is kept, what goes first, and what comes back from the spill."""

from collections.abc import Collection

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from espeer.llm.states import StateKey, States

LIMIT = 10


def note(name: str, slot: int = 0) -> StateKey:
    return StateKey("model", bytes(32), name, slot)


def prefix(number: int) -> StateKey:
    return StateKey("model", bytes([number]) * 32, "", 0)


class Memory:
    """A spill that takes states of up to ``most`` bytes, and keeps all of them."""

    def __init__(self, most: int = LIMIT) -> None:
        self.most = most
        self.values: dict[StateKey, bytes] = {}
        self.puts = 0

    def __contains__(self, key: StateKey) -> bool:
        return key in self.values

    def get(self, key: StateKey) -> bytes | None:
        return self.values.get(key)

    def put(self, key: StateKey, value: bytes) -> bool:
        self.puts += 1
        if len(value) > self.most:
            return False
        self.values[key] = value
        return True

    def forget(self, sources: Collection[str]) -> None:
        self.values = {key: value for key, value in self.values.items() if key.note.partition(":")[0] not in sources}

    def statistics(self) -> dict[str, int]:
        return {"entries": len(self.values)}


def test_what_was_not_used_for_longest_goes_first() -> None:
    states = States(LIMIT)
    for name in "abc":
        states.put(note(name), name.encode() * 3)
    assert states.get(note("a")) == b"aaa"
    assert note("b") in states  # which does not count as used
    states.put(note("d"), b"ddd")
    assert [name for name in "abcd" if note(name) in states] == ["a", "c", "d"]
    assert states.get(note("b")) is None
    assert states.statistics() == {
        "entries": 3, "bytes": 9, "hits": 1, "misses": 1, "evictions": 1, "spilled": 0, "restored": 0,
    }  # fmt: skip


def test_what_is_touched_counts_as_used_and_not_as_a_hit() -> None:
    states = States(LIMIT, Memory())
    for name in "abc":
        states.put(note(name), name.encode() * 3)
    assert states.touch(note("a"))
    assert not states.touch(note("z"))
    states.put(note("d"), b"ddd")
    in_memory = [name for name in "abcd" if states.get(note(name)) and states.statistics()["restored"] == 0]
    assert in_memory == ["a"]  # "b" came back from the spill
    assert states.statistics()["hits"] == 1
    assert all(states.touch(note(name)) for name in "abcd")


@pytest.mark.parametrize("other", [note("a", 1), StateKey("other", bytes(32), "a", 0), StateKey("model", b"\1" * 32, "a", 0)])
def test_each_part_of_the_key_counts(other: StateKey) -> None:
    states = States(LIMIT)
    states.put(note("a"), b"a")
    assert other not in states
    assert states.get(other) is None


def test_notes_go_before_prefixes() -> None:
    states = States(LIMIT)
    states.put(prefix(1), b"1111")
    for name in "abc":
        states.put(note(name), name.encode() * 3)
    assert states.get(prefix(1)) == b"1111"
    assert [name for name in "abc" if note(name) in states] == ["b", "c"]


def test_the_prefix_used_last_stays_however_large_it_is() -> None:
    states = States(LIMIT)
    states.put(prefix(1), b"1" * 9)
    states.put(note("a"), b"aa")
    assert states.get(prefix(1)) == b"1" * 9
    assert note("a") not in states


def test_prefixes_that_are_not_used_do_not_keep_notes_out() -> None:
    states = States(LIMIT)
    for number in range(5):
        states.put(prefix(number), bytes(2))
    states.get(prefix(0))
    for name in "abc":
        states.put(note(name), bytes(2))
    assert [number for number in range(5) if prefix(number) in states] == [0, 4]
    assert all(note(name) in states for name in "abc")


def test_a_state_over_the_limit_is_not_kept_and_not_what_it_replaces() -> None:
    spill = Memory(most=100)
    states = States(LIMIT, spill)
    states.put(note("a"), b"a")
    states.put(note("a"), bytes(LIMIT + 1))
    states.put(note("b"), bytes(LIMIT + 1))
    assert states.statistics()["bytes"] == 0
    assert note("a") not in states
    assert not spill.values
    assert states.flush() == 0


def test_nothing_is_kept_without_room() -> None:
    states = States(0)
    states.put(note("a"), b"a")
    assert states.get(note("a")) is None


def test_a_view_is_copied() -> None:
    states = States(LIMIT)
    buffer = bytearray(b"abc")
    states.put(note("a"), memoryview(buffer))
    buffer[:] = b"xyz"
    assert states.get(note("a")) == b"abc"


def test_what_had_to_go_comes_back_from_the_spill() -> None:
    spill = Memory()
    states = States(LIMIT, spill)
    states.put(note("a"), b"a" * 6)
    states.put(note("b"), b"b" * 6)
    assert note("a") in states
    assert states.get(note("a")) == b"a" * 6
    assert states.get(note("a")) == b"a" * 6
    assert states.get(note("b")) == b"b" * 6  # a is in the spill already
    assert spill.puts == 2
    assert states.statistics() == {
        "entries": 1, "bytes": 6, "hits": 1, "misses": 0, "evictions": 3, "spilled": 2, "restored": 2, "disk_entries": 2,
    }  # fmt: skip


def test_a_state_in_the_spill_that_memory_has_no_room_for_is_given_all_the_same() -> None:
    spill = Memory()
    spill.values[note("a")] = bytes(LIMIT)
    states = States(LIMIT - 1, spill)
    assert states.get(note("a")) == bytes(LIMIT)
    assert states.statistics()["bytes"] == 0


def test_flushing_saves_each_state_once() -> None:
    spill = Memory()
    states = States(LIMIT, spill)
    for name in "abc":
        states.put(note(name), name.encode() * 3)
    assert states.flush(2) == 2
    assert set(spill.values) == {note("a"), note("b")}
    assert states.flush() == 1
    spill.values.clear()  # there was no room for them
    assert states.flush() == 0
    assert States(LIMIT, spill).flush() == 0


def test_flushing_does_not_wait_for_a_spill_that_refuses() -> None:
    spill = Memory(most=2)
    states = States(LIMIT, spill)
    states.put(note("a"), b"aaa")
    states.put(note("b"), b"bb")
    assert states.flush(1) == 1
    assert set(spill.values) == {note("b")}
    assert states.flush() == 0
    assert states.get(note("a")) == b"aaa"


def test_what_is_forgotten_is_nowhere_and_makes_room() -> None:
    memory = Memory()
    states = States(LIMIT, memory)
    kept, gone = [prefix(0), note("ab"), note("b")], [note("a"), note("a", 1), note("a:7")]
    for key in (*gone, *kept):
        states.put(key, b"x")
    states.flush(4)
    states.forget({"a"})
    assert [key for key in (*kept, *gone) if key in states] == kept
    assert not memory.values.keys() & set(gone)
    assert states.statistics()["bytes"] == 3
    states.flush()
    assert set(memory.values) == set(kept)


def test_flushing_without_a_spill_does_nothing() -> None:
    states = States(LIMIT)
    states.put(note("a"), b"a")
    assert states.flush() == 0
    assert states.get(note("a")) == b"a"


KEYS = [*map(prefix, range(4)), *(note(name, slot) for name in "abc" for slot in range(2))]
keys = st.sampled_from(KEYS)


class StatesMachine(RuleBasedStateMachine):
    """Any order of uses, against two plain lists; with a spill nothing that was kept is ever gone."""

    @initialize(spilling=st.booleans())
    def begin(self, *, spilling: bool) -> None:
        self.spill = Memory() if spilling else None
        self.states = States(LIMIT, self.spill)
        self.held: list[tuple[StateKey, bytes]] = []  # longest unused first
        self.seen: dict[StateKey, bytes] = {}  # what the spill has or will have

    def keep(self, key: StateKey, value: bytes) -> None:
        self.held = [entry for entry in self.held if entry[0] != key]
        if len(value) > LIMIT:
            return
        self.held.append((key, value))
        while sum(len(value) for _, value in self.held) > LIMIT:
            prefixes = [entry for entry in self.held if not entry[0].note]
            notes = [entry for entry in self.held if entry[0].note]
            crowded = len(prefixes) > 1 and sum(len(value) for _, value in prefixes) > LIMIT / 2
            gone = prefixes[0] if crowded or not notes else notes[0]
            self.held.remove(gone)
            self.seen.setdefault(*gone)

    @rule(key=keys, size=st.integers(0, LIMIT + 1))
    def is_put(self, key: StateKey, size: int) -> None:
        value = bytes([KEYS.index(key)]) * size
        self.states.put(key, value)
        self.keep(key, value)

    @rule(key=keys)
    def is_got(self, key: StateKey) -> None:
        before = self.states.statistics()
        held = dict(self.held).get(key)
        spilt = self.seen.get(key) if self.spill else None
        expected = held if held is not None else spilt
        assert self.states.get(key) == expected
        if expected is not None:
            self.keep(key, expected)
        counter = "hits" if held is not None else "misses" if spilt is None else "restored"
        after = self.states.statistics()
        assert {name: after[name] - before[name] for name in ("hits", "misses", "restored")} == {
            "hits": 0, "misses": 0, "restored": 0, counter: 1,
        }  # fmt: skip

    @rule(most=st.none() | st.integers(0, 3))
    def is_flushed(self, most: int | None) -> None:
        if self.spill is None:
            assert self.states.flush(most) == 0
            return
        before = set(self.spill.values)
        assert self.states.flush(most) == len(set(self.spill.values) - before)
        assert most is None or len(set(self.spill.values) - before) <= most
        for key, value in self.held:
            if key in self.spill and key not in before:
                self.seen.setdefault(key, value)
        assert most is not None or all(key in self.spill for key, _ in self.held)

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        statistics = self.states.statistics()
        assert statistics["bytes"] == sum(len(value) for _, value in self.held) <= LIMIT
        assert statistics["entries"] == len(self.held)
        there = {key for key, _ in self.held} | (self.seen.keys() if self.spill else set())
        assert {key for key in KEYS if key in self.states} == there
        if self.spill is not None:
            assert self.spill.values == self.seen
            assert self.spill.puts == statistics["spilled"] == len(self.seen)


StatesMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestStates = StatesMachine.TestCase
