import random
from itertools import pairwise

import pytest
import trio
import trio.testing
from replicas import identity

from espeer.errors import NetworkError
from espeer.p2p.acquaintances import Acquaintances
from espeer.p2p.addresses import PeerAddress
from espeer.p2p.dialer import FEW_TRIES, MAX_HEARD, MAX_KNOWN, MAX_PEERS, MIN_OWN, REST, TRIES, Dialer
from espeer.p2p.links import Links

OWN = identity(1).peer_id
NOW = 1_800_000_000_000


def address(number: int, port: int = 4001) -> PeerAddress:
    return PeerAddress(identity(number).peer_id, f"/ip4/192.0.2.{number % 250}/tcp/{port}")


class Net:
    """Peers that answer, or do not; who dialled what and when."""

    def __init__(self, links: Links, *up: PeerAddress) -> None:
        self.links = links
        self.up = set(up)
        self.dials: list[tuple[float, PeerAddress]] = []

    async def dial(self, where: PeerAddress) -> None:
        self.dials.append((trio.current_time(), where))
        await trio.sleep(0.01)
        if where not in self.up:
            raise NetworkError(f"no answer from {where}")
        self.links.set(where.peer_id, connected=True)

    def count(self, where: PeerAddress) -> int:
        return sum(dialled == where for _, dialled in self.dials)


def make(*bootstrap: PeerAddress, met: Acquaintances | None = None) -> tuple[Dialer, Links]:
    links = Links()
    return Dialer(
        OWN, bootstrap, links, random.Random(1), met=Acquaintances() if met is None else met, now_ms=lambda: NOW
    ), links


async def test_a_bootstrap_peer_is_tried_for_ever_with_backoff(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    dialer, links = make(address(2), address(3), address(4))
    net = Net(links, address(4))
    nursery.start_soon(dialer.run, net.dial)
    await trio.sleep(3600)
    assert links.up == {address(4).peer_id}
    assert {where for when, where in net.dials if when == 0} == {address(2), address(3), address(4)}
    tries = [when for when, where in net.dials if where == address(2)]
    gaps = [later - sooner for sooner, later in pairwise(tries)]
    assert 0.5 <= gaps[0] <= 1.1
    assert min(gaps[8:]) >= 30
    assert max(gaps) <= 60.1
    assert [entry.levelname for entry in caplog.records] == ["WARNING", "WARNING"]
    assert autojump_clock.current_time() >= 3600


async def test_a_bootstrap_peer_that_answers_after_all_is_said_to(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    dialer, links = make(address(2))
    net = Net(links)
    nursery.start_soon(dialer.run, net.dial)
    await trio.sleep(10)
    net.up.add(address(2))
    await trio.sleep(100)
    said = [entry.getMessage() for entry in caplog.records]
    assert said == ["peer does not answer; trying on", "peer answers now"]
    assert autojump_clock.current_time() >= 110


async def test_a_lost_peer_is_dialled_again(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    dialer, links = make(address(2))
    net = Net(links, address(2))
    nursery.start_soon(dialer.run, net.dial)
    for _ in range(3):
        await links.wait_for(bool)
        await trio.sleep(100)
        lost = autojump_clock.current_time()
        links.set(address(2).peer_id, connected=False)
        await links.wait_for(bool)
        assert autojump_clock.current_time() - lost < 1.1


async def test_a_peer_that_hangs_up_at_once_is_not_dialled_at_once(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    dialer, links = make(address(2))
    net = Net(links, address(2))
    nursery.start_soon(dialer.run, net.dial)
    while autojump_clock.current_time() < 600:
        await links.wait_for(bool)
        links.set(address(2).peer_id, connected=False)
    assert len(net.dials) < 30


async def test_a_peer_heard_of_is_left_alone_when_it_does_not_answer(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    dialer, links = make()
    net = Net(links)
    nursery.start_soon(dialer.run, net.dial)
    dialer.learn([address(2)], source=address(3).peer_id)
    await trio.sleep(60)
    assert net.count(address(2)) == FEW_TRIES
    dialer.learn([address(2)], source=address(3).peer_id)  # whoever says so again
    await trio.sleep(60)
    assert net.count(address(2)) == FEW_TRIES
    dialer.learn([address(2)], source=address(2).peer_id)  # it is there, and says so itself
    await trio.sleep(0.1)
    assert net.count(address(2)) == FEW_TRIES + 1
    assert autojump_clock.current_time() < REST


async def test_a_peer_that_was_met_is_never_given_up(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    met = Acquaintances()
    met.met(address(2).peer_id, [address(2)], NOW, dialled=True)
    dialer, links = make(met=met)
    net = Net(links)
    nursery.start_soon(dialer.run, net.dial)
    await trio.sleep(24 * 3600)
    assert net.count(address(2)) > 10 * TRIES
    assert net.count(address(2)) < 24 * 3600 / REST * TRIES
    net.up.add(address(2))
    with trio.fail_after(2 * REST):
        await links.wait_for(bool)
    assert autojump_clock.current_time() < 25 * 3600


async def test_who_was_dialled_is_remembered_with_the_address_that_answered_first(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    met = Acquaintances()
    dialer, links = make(address(2), met=met)
    nursery.start_soon(dialer.run, Net(links, address(2), address(3, 2)).dial)
    dialer.learn([address(3, 1), address(3, 2), address(4)], source=address(2).peer_id)
    await links.wait_for(lambda up: len(up) == 2)
    await trio.sleep(1)
    assert dict(met.best()) == {
        address(2).peer_id: [address(2)],
        address(3).peer_id: [address(3, 2), address(3, 1)],
    }
    assert autojump_clock.current_time() < 10


def test_who_is_connected_and_says_where_it_listens_is_remembered() -> None:
    met = Acquaintances()
    dialer, links = make(met=met)
    links.set(address(2).peer_id, connected=True)
    dialer.learn([address(2)], source=address(2).peer_id)
    dialer.learn([address(3)], source=address(2).peer_id)
    assert met.best() == [(address(2).peer_id, [address(2)])]


async def test_a_bootstrap_peer_that_moved_is_found_where_others_say(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    dialer, links = make(address(2, 1))
    nursery.start_soon(dialer.run, Net(links, address(2, 2)).dial)
    dialer.learn([address(2, 2)], source=address(3).peer_id)
    await links.wait_for(bool)
    assert autojump_clock.current_time() < 2


def test_what_it_would_dial_anyway_is_known() -> None:
    through = address(5).through(address(6).peer_id)
    dialer, _ = make(address(2), through)
    dialer.learn([address(3)], source=address(4).peer_id)
    assert all(map(dialer.knows, [address(2), address(3), address(5), through]))
    assert not dialer.knows(address(3, 9))
    assert not dialer.knows(address(6))


def test_one_peer_cannot_fill_the_table() -> None:
    dialer, _ = make()
    liar, honest = address(2).peer_id, address(3).peer_id
    dialer.learn([address(number) for number in range(10, 10 + 2 * MAX_HEARD)], source=liar)
    assert len(dialer._known) == MAX_HEARD
    dialer.learn([address(1000)], source=honest)
    assert dialer.addresses(address(1000).peer_id) == [address(1000)]


def test_of_a_full_table_the_one_who_told_most_loses() -> None:
    dialer, _ = make()
    for source in range(2, 2 + MAX_KNOWN // MAX_HEARD):
        dialer.learn(
            [address(source * 1000 + number) for number in range(MAX_HEARD)],
            source=address(source).peer_id,
        )
    assert len(dialer._known) == MAX_KNOWN
    dialer.learn([address(100)], source=address(100).peer_id)
    assert dialer.addresses(address(100).peer_id) == [address(100)]
    assert len(dialer._known) == MAX_KNOWN


async def test_who_comes_to_us_does_not_keep_us_from_dialling_others(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    dialer, links = make()
    crowd = [address(number) for number in range(100, 140)]
    others = [address(number) for number in range(2, 40)]
    for one in crowd:
        links.set(one.peer_id, connected=True)
        dialer.learn([one], source=one.peer_id)
    net = Net(links, *others)
    nursery.start_soon(dialer.run, net.dial)
    dialer.learn(others, source=address(100).peer_id)
    await trio.sleep(100)
    assert len(links.up) == len(crowd) + MIN_OWN
    assert autojump_clock.current_time() == pytest.approx(100)


async def test_only_so_many_peers_are_kept(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    dialer, links = make(address(2))
    crowd = [address(number) for number in range(3, 100)]
    net = Net(links, address(2), *crowd)
    nursery.start_soon(dialer.run, net.dial)
    dialer.learn(crowd, source=address(2).peer_id)
    await trio.sleep(100)
    assert len(links.up) == MAX_PEERS + 1
    assert autojump_clock.current_time() == pytest.approx(100)


async def test_it_does_not_dial_itself_nor_who_is_connected(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    dialer, links = make(PeerAddress(OWN, "/ip4/192.0.2.1/tcp/1"))
    net = Net(links)
    links.set(address(2).peer_id, connected=True)
    nursery.start_soon(dialer.run, net.dial)
    dialer.learn([PeerAddress(OWN, "/ip4/192.0.2.1/tcp/2"), address(2)], source=address(3).peer_id)
    await trio.sleep(100)
    assert net.dials == []
    assert autojump_clock.current_time() == pytest.approx(100)


def test_a_peer_is_believed_about_itself_and_others_add() -> None:
    dialer, _ = make()
    peer = address(2).peer_id
    dialer.learn([address(2, 1)], source=address(3).peer_id)
    dialer.learn([address(2, 2)], source=address(4).peer_id)
    assert dialer.addresses(peer) == [address(2, 1), address(2, 2)]
    dialer.learn([address(2, 3)], source=peer)
    assert dialer.addresses(peer) == [address(2, 3)]
    dialer.learn([address(2, port) for port in range(4, 20)], source=address(3).peer_id)
    assert dialer.addresses(peer) == [address(2, port) for port in (3, 4, 5, 6)]


async def test_the_second_address_is_tried_when_the_first_does_not_answer(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    dialer, links = make()
    net = Net(links, address(2, 2))
    nursery.start_soon(dialer.run, net.dial)
    dialer.learn([address(2, 1), address(2, 2)], source=address(2).peer_id)
    await links.wait_for(bool)
    assert autojump_clock.current_time() < 1
