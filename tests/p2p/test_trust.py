import pytest
from hypothesis import given
from hypothesis import strategies as st

from espeer.errors import (
    BadSignature,
    BrokenPromise,
    EspeerError,
    Flooding,
    FrameTooLarge,
    FromTheFuture,
    MalformedRecord,
    NetworkError,
    ProtocolError,
    SlowReader,
    StoreFull,
    UnknownVersion,
)
from espeer.p2p.trust import FIRST_BAN, GROWTH, HALF_LIFE, LAST_BAN, LIMIT, MEMORY, Reputation, weight

offences = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.floats(0, 2 * LIMIT), st.floats(0, HALF_LIFE)),
    max_size=60,
)


@pytest.mark.parametrize("error", [FromTheFuture, UnknownVersion, StoreFull, NetworkError, EspeerError])
def test_an_honest_mistake_and_a_fault_of_ours_weigh_nothing(error: type[EspeerError]) -> None:
    assert weight(error("it happened")) == 0


def test_forgery_weighs_more_than_garbage_and_that_more_than_being_slow() -> None:
    kinds = (BadSignature, FrameTooLarge), (MalformedRecord, ProtocolError), (Flooding,), (BrokenPromise, SlowReader)
    weights = [{weight(kind("x")) for kind in group} for group in kinds]
    assert all(len(group) == 1 for group in weights)
    assert [group.pop() for group in weights] == [50, 25, 20, 2]


def test_a_peer_is_banned_at_the_limit_for_a_while() -> None:
    peers = Reputation()
    assert not peers.offend("a", LIMIT / 2, 0)
    assert not peers.banned("a", 0)
    assert peers.offend("a", LIMIT / 2, 0)
    assert peers.banned("a", FIRST_BAN - 1)
    assert not peers.banned("a", FIRST_BAN)
    assert not peers.banned("b", 0)
    assert peers.bans(10) == {"a": FIRST_BAN - 10}
    assert peers.bans(FIRST_BAN) == {}


def test_what_is_long_ago_is_halved() -> None:
    peers = Reputation()
    peers.offend("a", 80, 0)
    assert peers.score("a", HALF_LIFE) == pytest.approx(40)
    assert not peers.offend("a", 59, HALF_LIFE)
    assert peers.offend("a", 2, HALF_LIFE)


def test_each_ban_is_longer_up_to_a_day_and_forgotten_after_a_quiet_one() -> None:
    peers = Reputation()
    now, lengths = 0.0, []
    for _ in range(600):  # 4 to the power of that is no float any more
        assert peers.offend("a", LIMIT, now)
        lengths.append(peers.bans(now)["a"])
        now += lengths[-1]
    assert lengths[:8] == [min(FIRST_BAN * GROWTH**number, LAST_BAN) for number in range(8)]
    assert lengths[-1] == LAST_BAN
    assert peers.offend("a", LIMIT, now + MEMORY + 1)
    assert peers.bans(now + MEMORY + 1)["a"] == pytest.approx(FIRST_BAN)


def test_one_that_comes_back_is_on_probation() -> None:
    peers = Reputation()
    peers.offend("a", LIMIT, 0)
    assert peers.score("a", FIRST_BAN) == LIMIT / 2
    assert peers.offend("a", LIMIT / 2, FIRST_BAN)


def test_offences_during_a_ban_do_not_lengthen_it() -> None:
    peers = Reputation()
    peers.offend("a", LIMIT, 0)
    assert not peers.offend("a", LIMIT, 1)
    assert peers.bans(1) == {"a": FIRST_BAN - 1}


def test_a_full_table_keeps_bans_and_the_worst() -> None:
    peers = Reputation(most=8)
    peers.offend("banned", LIMIT, 0)
    peers.offend("bad", 90, 0)
    for number in range(100):
        peers.offend(f"fresh{number}", 1, 0)
        assert len(peers) <= 8
    assert peers.banned("banned", 1)
    assert peers.score("bad", 0) == 90


@given(offences)
def test_a_ban_is_never_lengthened_and_a_score_never_reaches_the_limit(steps: list[tuple[str, float, float]]) -> None:
    peers = Reputation(most=4)
    now = 0.0
    for peer_id, heavy, pause in steps:
        now += pause
        before = peers.bans(now)
        banned = peers.offend(peer_id, heavy, now)
        after = peers.bans(now)
        assert banned == (peer_id in after and peer_id not in before)
        assert all(after.get(other, left) == left for other, left in before.items())
        assert len(peers) <= 4
        assert all(0 < left <= LAST_BAN for left in after.values())
        assert 0 <= peers.score(peer_id, now) < LIMIT
        assert peers.banned(peer_id, now) == (peer_id in after)


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 3600)), max_size=50))
def test_one_small_offence_every_ten_minutes_never_bans(steps: list[tuple[float, float]]) -> None:
    peers = Reputation()
    now = 0.0
    for small, pause in steps:
        now += HALF_LIFE + pause
        assert not peers.offend("a", small, now)
