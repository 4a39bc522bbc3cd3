import pytest
from hypothesis import given
from hypothesis import strategies as st

from espeer.p2p.lobby import UNKNOWN, Lobby, is_loopback, source_of


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("nonsense", UNKNOWN),
        (None, UNKNOWN),
    ],
)
def test_a_source_is_an_address_or_a_site(host: str | None, source: str) -> None:
    assert source_of(host) == source


@pytest.mark.parametrize(("source", "loopback"), [("127.0.0.1", True), ("::1", True), ("192.0.2.1", False), (UNKNOWN, False)])
def test_loopback(source: str, loopback: bool) -> None:
    assert is_loopback(source) is loopback


def test_the_oldest_of_the_same_source_goes() -> None:
    lobby: Lobby[int] = Lobby(most=10, most_per_source=2)
    assert [lobby.enter(guest, "a") for guest in (1, 2)] == [None, None]
    assert lobby.enter(3, "b") is None
    assert lobby.enter(4, "a") == 1
    assert lobby.enter(5, "a") == 2
    lobby.leave(1, "a")  # it went before
    assert len(lobby) == 3


def test_of_a_full_house_the_source_with_most_gives() -> None:
    lobby: Lobby[int] = Lobby(most=4, most_per_source=3)
    for guest, source in ((1, "a"), (2, "b"), (3, "b"), (4, "b")):
        assert lobby.enter(guest, source) is None
    assert lobby.enter(5, "c") == 2
    assert lobby.enter(6, "b") == 3
    assert len(lobby) == 4


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5), st.booleans())))
def test_it_is_never_fuller_than_it_may_be(steps: list[tuple[int, int, bool]]) -> None:
    lobby: Lobby[int] = Lobby(most=6, most_per_source=3)
    waiting: dict[int, str] = {}
    for guest, number, entering in steps:
        source = str(number)
        if entering and guest not in waiting:
            leaving = lobby.enter(guest, source)
            waiting[guest] = source
            if leaving is not None:
                assert leaving != guest
                del waiting[leaving]
        elif guest in waiting:
            lobby.leave(guest, waiting.pop(guest))
        assert len(lobby) == len(waiting) <= 6
        assert all(list(waiting.values()).count(each) <= 3 for each in waiting.values())
