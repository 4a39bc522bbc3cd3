from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from espeer.p2p.slots import Limits, Slots

LIMITS = Limits(reservations=3, per_host=2, seconds=10, circuits=4, per_peer=2)


def test_a_reservation_lasts_its_time_and_a_refresh_extends_it() -> None:
    slots = Slots(LIMITS)
    assert not slots.is_reserved("a", 0)
    assert slots.reserve("a", "h", 0)
    assert slots.is_reserved("a", 9)
    assert not slots.is_reserved("a", 10)
    assert slots.reserve("a", "h", 9)
    assert slots.is_reserved("a", 18)
    slots.release("a")
    slots.release("a")
    assert not slots.is_reserved("a", 18)


def test_there_are_only_so_many_of_one_host_and_in_all_until_one_ends() -> None:
    slots = Slots(LIMITS)
    assert slots.reserve("a", "h", 0)
    assert slots.reserve("b", "h", 1)
    assert not slots.reserve("c", "h", 2)
    assert slots.reserve("c", "i", 2)
    assert not slots.reserve("d", "j", 3)
    assert slots.reserve("a", "h", 4), "a refresh needs no room"
    assert not slots.reserve("d", "j", 10), "b has ended, its host has not"
    assert slots.reserve("d", "j", 12)


def test_what_is_refused_leaves_no_trace() -> None:
    slots = Slots(LIMITS)
    for peer in "abc":
        slots.reserve(peer, peer, 0)
    assert not slots.reserve("d", "d", 0)
    assert not slots.is_reserved("d", 0)


def test_circuits_are_counted_at_both_ends() -> None:
    slots = Slots(LIMITS)
    assert slots.join("a", "b")
    assert slots.join("b", "c")
    assert not slots.join("b", "d")
    assert not slots.join("d", "b")
    slots.part("a", "b")
    assert slots.join("d", "b")


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcdef"), st.sampled_from("abcdef"))))
def test_no_order_of_joining_and_parting_exceeds_the_limits(steps: list[tuple[bool, str, str]]) -> None:
    slots = Slots(LIMITS)
    open_: list[tuple[str, str]] = []
    for joins, source, target in steps:
        if joins and source != target and slots.join(source, target):
            open_.append((source, target))
        elif not joins and open_:
            slots.part(*open_.pop())
        assert slots.circuits == len(open_) <= LIMITS.circuits
        assert all(sum(peer in pair for pair in open_) <= LIMITS.per_peer for peer in "abcdef")
    while open_:
        slots.part(*open_.pop())
    assert all(slots.join("a", other) for other in "bcdefgh"[: LIMITS.per_peer])


def test_one_peer_cannot_take_all_circuits_of_another() -> None:
    slots = Slots(replace(LIMITS, per_peer=8, circuits=32))
    assert [slots.join("greedy", "a") for _ in range(3)] == [True, True, False]
    assert not slots.join("a", "greedy")
    assert slots.join("b", "a")
    slots.part("greedy", "a")
    assert slots.join("greedy", "a")
