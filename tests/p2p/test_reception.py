import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
import trio
from replicas import PATIENCE, Peer, records, until
from stranger import stranger

from espeer.errors import NetworkError
from espeer.p2p import host, reception
from espeer.p2p.addresses import parse_peer
from espeer.p2p.host import Node


def port_of(peer: Peer) -> int:
    return int(peer.address.split("/")[4])


@asynccontextmanager
async def idle_connections(peer: Peer, count: int) -> AsyncIterator[list[trio.SocketStream]]:
    """Connections that say nothing."""
    async with AsyncExitStack() as stack:
        idle = []
        for _ in range(count):
            with trio.fail_after(PATIENCE):
                idle.append(await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port_of(peer))))
        yield idle


def counted(peer: Peer) -> int:
    """How many connections libp2p counts, those in their handshake too."""
    node = peer.swarm._node
    assert isinstance(node, Node)
    return int(node.network._resource_manager._current_connections)


async def until_hung_up(connection: trio.SocketStream) -> None:
    with trio.fail_after(PATIENCE):
        while await connection.receive_some():
            pass


async def dial_or_not(peer: Peer, target: Peer) -> None:
    with suppress(NetworkError):
        await peer.swarm._node.dial(parse_peer(target.address))


async def test_idle_connections_keep_nobody_out(nursery: trio.Nursery) -> None:
    held = records(3)
    a = await Peer(1, held=held).start(nursery)
    async with idle_connections(a, 300) as idle:
        before = trio.current_time()
        b = await Peer(2, a.address).start(nursery)
        await b.door.until_holds(held)
        assert trio.current_time() - before < reception.HANDSHAKE_SECONDS - 1
        for connection in idle[: 300 - reception.MAX_HALF_OPEN_PER_SOURCE - 1]:
            await until_hung_up(connection)
    await until(lambda: counted(a) == 1)


async def test_an_unfinished_handshake_has_an_end(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "HANDSHAKE_SECONDS", 0.2)
    a = await Peer(1).start(nursery)
    async with idle_connections(a, 2) as idle:
        for connection in idle:
            await until_hung_up(connection)
    assert counted(a) == 0


async def test_who_does_not_shake_hands_is_not_waited_for(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "HANDSHAKE_SECONDS", 0.2)
    a, b = await Peer(1).start(nursery), await Peer(2).start(nursery)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = a.address.replace(str(port_of(a)), str(silent.getsockname()[1]))
        for _ in range(3):
            with pytest.raises(NetworkError, match="no handshake within"):
                await b.swarm._node.dial(parse_peer(address))
    assert counted(b) == 0


async def test_connections_that_ended_make_room_for_others(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "MAX_CONNECTIONS", 3)
    monkeypatch.setattr(reception, "MAX_INBOUND", 2)
    held = records(1)
    a = await Peer(1, held=held).start(nursery)
    for seed in range(2, 7):
        b = await Peer(seed, a.address).start(nursery)
        await b.door.until_holds(held)
        await b.stop()
        await a.until_parted(b)


async def test_there_are_no_more_connections_than_there_may_be(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "MAX_INBOUND", 2)
    held = records(1)
    a = await Peer(1, held=held).start(nursery)
    b, c = [await Peer(seed, a.address).start(nursery) for seed in (2, 3)]
    await b.door.until_holds(held)
    await c.door.until_holds(held)
    async with idle_connections(a, 1) as (third,):
        await until_hung_up(third)
    d = await Peer(4).start(nursery)
    with pytest.raises(NetworkError):
        await d.swarm._node.dial(parse_peer(a.address))
    await a.swarm._node.dial(parse_peer(d.address))  # outbound there is room
    await a.until_connected(b, c, d)


async def test_there_are_no_more_even_if_all_come_at_once(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "MAX_INBOUND", 2)
    a = await Peer(1).start(nursery)
    others = [await Peer(seed).start(nursery) for seed in range(2, 8)]
    async with trio.open_nursery() as dialling:
        for other in others:
            dialling.start_soon(dial_or_not, other, a)
    with trio.fail_after(PATIENCE):
        await a.swarm._links.wait_for(lambda up: len(up) == 2)


async def test_one_source_cannot_have_all_connections(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "MAX_INBOUND_PER_SOURCE", 1)
    monkeypatch.setattr(reception, "is_loopback", lambda _source: False)
    held = records(1)
    a = await Peer(1, listen="/ip4/0.0.0.0/tcp/0", held=held).start(nursery)
    b = await Peer(2, a.address.replace("0.0.0.0", "127.0.0.1")).start(nursery)
    await b.door.until_holds(held)
    async with idle_connections(a, 1) as (second,):
        await until_hung_up(second)
    from_elsewhere = await trio.open_tcp_stream("127.0.0.1", port_of(a), local_address="127.0.0.2")
    async with from_elsewhere:
        with trio.fail_after(PATIENCE):
            await from_elsewhere.send_all(b"\x13/multistream/1.0.0\n")
            assert await from_elsewhere.receive_some() == b"\x13/multistream/1.0.0\n"


async def test_this_machine_may_have_many(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "MAX_INBOUND_PER_SOURCE", 1)
    a = await Peer(1).start(nursery)
    others = [await Peer(seed, a.address).start(nursery) for seed in (2, 3, 4)]
    await a.until_connected(*others)


async def test_where_a_peer_comes_from_is_known_over_ipv6_too(nursery: trio.Nursery) -> None:
    a = await Peer(1, listen="/ip6/::1/tcp/0").start(nursery)
    async with stranger(a) as other:
        await other.open("/espeer/1/test/hello/1")
        (connection,) = a.swarm._node.network.get_connections()
        assert connection.muxed_conn.secured_conn.get_remote_address()[0] == "::1"
