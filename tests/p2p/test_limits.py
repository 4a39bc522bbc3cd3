import pytest
from hypothesis import given
from hypothesis import strategies as st

from espeer.p2p.limits import Bucket, Buckets, Recent

steps = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 50)), max_size=50)


def test_a_burst_passes_at_once_and_then_the_rate() -> None:
    bucket = Bucket(20, 200, 0)
    assert sum(bucket.take(0) for _ in range(300)) == 200
    assert sum(bucket.take(1) for _ in range(300)) == 20
    assert bucket.level(1000) == 200


@given(steps)
def test_what_is_taken_is_never_more_than_the_burst_and_what_flowed_in(moves: list[tuple[float, float]]) -> None:
    bucket = Bucket(7, 30, 0)
    now = taken = 0.0
    for pause, cost in moves:
        now += pause
        if bucket.take(now, cost):
            taken += cost
        assert taken <= 30 + 7 * now + 1e-6
        assert -1e-6 <= bucket.level(now) <= 30


@given(steps)
def test_who_waits_for_what_it_owes_keeps_to_the_rate(moves: list[tuple[float, float]]) -> None:
    bucket = Bucket(7, 30, 0)
    now = spent = 0.0
    for pause, cost in moves:
        now += pause
        spent += cost
        now += bucket.owe(now, cost)
        assert bucket.level(now) == pytest.approx(0) or bucket.level(now) > 0
        assert spent <= 30 + 7 * now + 1e-6


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = Bucket(10, 10, 100)
    assert bucket.take(100, 10)
    assert not bucket.take(50)
    assert not bucket.take(100)
    assert bucket.take(101)


def test_each_key_has_a_bucket_and_full_ones_are_forgotten_first() -> None:
    buckets = Buckets[str](1, 4, most=8)
    assert not buckets.take("heavy", 0, 5)
    assert not buckets.holds("heavy", 0, 5)
    assert buckets.holds("heavy", 0, 4)
    assert buckets.holds("new", 0, 4)
    assert not buckets.holds("new", 0, 5)
    assert buckets.owe("heavy", 0, 8) == 4
    for number in range(100):
        assert buckets.take(f"light{number}", 0)
        assert len(buckets) <= 8
    assert not buckets.take("heavy", 0)
    assert buckets.take("heavy", 5)


@given(st.lists(st.binary(max_size=1), max_size=60))
def test_the_latest_ids_are_kept(ids: list[bytes]) -> None:
    recent = Recent(5)
    for id_ in ids:
        recent.add(id_)
    expected = list(dict.fromkeys(reversed(ids)))[:5]
    assert len(recent) == len(expected)
    assert {id_ for id_ in ids if id_ in recent} == set(expected)
