import socket

import pytest
import trio
from libp2p.network.exceptions import SwarmException
from replicas import PATIENCE, Peer, identity, records
from stranger import stranger

from espeer.errors import BadAddress, NetworkError
from espeer.p2p.addresses import parse_peer
from espeer.p2p.gate import Gate

A, B, C = (identity(seed).peer_id for seed in (1, 2, 3))


def test_without_lists_everybody_is_admitted() -> None:
    assert Gate().admits(A)


def test_with_an_allow_list_nobody_else_is() -> None:
    gate = Gate(allow=[A])
    assert gate.admits(A)
    assert not gate.admits(B)


def test_denying_outweighs_allowing() -> None:
    gate = Gate(allow=[A, B], deny=[B])
    assert gate.admits(A)
    assert not gate.admits(B)


def test_a_ban_is_asked_for_each_time() -> None:
    banned = {A}
    gate = Gate(allow=[A], banned=banned.__contains__)
    assert not gate.admits(A)
    banned.clear()
    assert gate.admits(A)


@pytest.mark.parametrize("text", ["", "nobody", "/ip4/127.0.0.1", f"{A}/tcp/1", f"/p2p/{A}"])
def test_what_is_no_peer_id_is_refused(text: str) -> None:
    with pytest.raises(BadAddress, match="is not a peer id"):
        Peer(1, allow=[text])


async def test_a_denied_peer_that_dials_is_hung_up_on_and_costs_nobody_else(nursery: trio.Nursery) -> None:
    held = records(3)
    a = await Peer(1, held=held, deny=[B]).start(nursery)
    b = await Peer(2, a.address).start(nursery)
    c = await Peer(3, a.address).start(nursery)
    await c.door.until_holds(held)
    for _ in range(100):  # more than a node has room for
        with pytest.raises(NetworkError):
            await b.swarm._node.dial(parse_peer(a.address))
    assert B not in a.connected()
    assert a.connected() == {C}
    assert b.door.held == {}
    d = await Peer(4, a.address).start(nursery)
    await d.door.until_holds(held)


async def test_a_denied_peer_is_not_dialled(nursery: trio.Nursery) -> None:
    b = await Peer(2, deny=[A]).start(nursery)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        port = listening.getsockname()[1]
        with pytest.raises(NetworkError, match="is not dialled"):
            await b.swarm._node.dial(parse_peer(f"/ip4/127.0.0.1/tcp/{port}/p2p/{A}"))
        with pytest.raises(BlockingIOError):
            listening.accept()


async def test_a_peer_that_is_banned_while_we_dial_is_hung_up_on(nursery: trio.Nursery) -> None:
    a = await Peer(1).start(nursery)
    b = await Peer(2).start(nursery)
    answers = iter([False, True])
    b.swarm._gate._banned = lambda _peer_id: next(answers)
    with pytest.raises(NetworkError, match="banned"):
        await b.swarm._node.dial(parse_peer(a.address))
    assert b.connected() == set()


async def test_only_allowed_peers_come_in(nursery: trio.Nursery) -> None:
    a = await Peer(1, allow=[C]).start(nursery)
    async with stranger(a) as other:
        with pytest.raises(SwarmException), trio.fail_after(PATIENCE):
            await other.open("/ipfs/ping/1.0.0")
    c = await Peer(3, a.address).start(nursery)
    await c.until_connected(a)
    assert a.connected() == {C}
