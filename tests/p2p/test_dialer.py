import random
from itertools import pairwise

import pytest
import trio
import trio.testing
from replicas import identity

from espeer.errors import NetworkError
from espeer.p2p.addresses import PeerAddress
from espeer.p2p.dialer import MAX_PEERS, TRIES, Dialer
from espeer.p2p.links import Links

OWN = identity(1).peer_id


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


def make(*bootstrap: PeerAddress) -> tuple[Dialer, Links]:
    links = Links()
    return Dialer(OWN, bootstrap, links, random.Random(1)), links


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


async def test_a_peer_heard_of_is_forgotten_when_it_does_not_answer(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    dialer, links = make()
    net = Net(links)
    nursery.start_soon(dialer.run, net.dial)
    dialer.learn([address(2)], source=address(3).peer_id)
    await trio.sleep(3600)
    assert net.count(address(2)) == TRIES
    assert dialer.addresses(address(2).peer_id) == []
    dialer.learn([address(2)], source=address(3).peer_id)
    await trio.sleep(0.1)
    assert net.count(address(2)) == TRIES + 1
    assert autojump_clock.current_time() < 3700


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
