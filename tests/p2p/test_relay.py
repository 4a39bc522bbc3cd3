import contextlib
import itertools
import logging
import os

import pytest
import trio
import trio.testing
from libp2p.abc import INetStream
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.exceptions import StreamFailure
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.peer.id import ID
from libp2p.relay.circuit_v2.pb.circuit_pb2 import HopMessage, PeerId, Status, StopMessage
from libp2p.utils import encode_varint_prefixed
from multiaddr import Multiaddr
from replicas import PATIENCE, Peer, records, until
from stranger import Stranger, stranger, until_reset

from espeer.p2p import relay as relay_module
from espeer.p2p import reservations
from espeer.p2p.circuit import HOP, STOP, Circuit, receive, send
from espeer.p2p.private import PrivateConnection
from espeer.p2p.slots import Limits

RESERVE = HopMessage(type=HopMessage.RESERVE)


def connect(target: Peer) -> HopMessage:
    return HopMessage(type=HopMessage.CONNECT, peer=PeerId(id=raw_id(target)))


def prefixed(message: HopMessage) -> bytes:
    return bytes(encode_varint_prefixed(message.SerializeToString()))


def raw_id(peer: Peer) -> bytes:
    return ID.from_string(peer.identity.peer_id).to_bytes()


async def relay(nursery: trio.Nursery, limits: Limits | None = None) -> Peer:
    return await Peer(1, types=["networking"], relay_service=limits or Limits()).start(nursery)


async def hidden(nursery: trio.Nursery, seed: int, at: Peer, *bootstrap: str, **settings: object) -> Peer:
    """A peer that listens nowhere and is reached through a relay."""
    peer = await Peer(seed, *bootstrap, listen=None, relays=[at.address], types=["biology"], **settings).start(nursery)
    with trio.fail_after(PATIENCE):
        assert await peer.swarm.relayed() == [f"{at.address}/p2p-circuit/p2p/{peer.identity.peer_id}"]
    return peer


async def ask(attacker: Stranger, message: HopMessage) -> tuple[INetStream, HopMessage]:
    stream = await attacker.open(HOP)
    await send(stream, message)
    with trio.fail_after(PATIENCE):
        return stream, await receive(stream, HopMessage)


def circuits(at: Peer) -> int:
    return at.swarm._relay._slots.circuits


async def test_two_that_listen_nowhere_meet_through_a_relay_that_does_not_hold_their_type(nursery: trio.Nursery) -> None:
    r = await relay(nursery)
    ours, theirs = records(3), records(3, start=3)
    a = await hidden(nursery, 2, r, held=ours)
    b = await hidden(nursery, 3, r, a.address, held=theirs)
    await a.door.until_holds(theirs)
    await b.door.until_holds(ours)
    await a.until_meshed(b)
    new = records(3, start=10)
    a.swarm.publish(new)
    await b.door.until_holds(new)
    assert b.door.via[new[0].id] == "gossip"
    assert r.door.held == {}
    assert r.swarm.counters.circuits >= 1
    assert r.swarm.counters.relayed > 0


async def test_circuits_of_a_private_network_are_private(nursery: trio.Nursery) -> None:
    key = bytes(range(32))
    r = await Peer(1, types=["networking"], relay_service=Limits(), psk=key).start(nursery)
    held = records(3)
    a = await hidden(nursery, 2, r, held=held, psk=key)
    b = await hidden(nursery, 3, r, a.address, psk=key)
    await b.door.until_holds(held)
    assert r.swarm.counters.circuits >= 1
    (circuit,) = [c for c in b.swarm._node.network.get_connections(ID(raw_id(a))) if isinstance(c, SwarmConn)]
    below = circuit.muxed_conn.secured_conn.conn.read_writer.read_write_closer
    assert isinstance(below, PrivateConnection)
    assert isinstance(below.stream, Circuit)


async def test_a_peer_hears_of_one_behind_a_relay_from_the_relay(nursery: trio.Nursery) -> None:
    r = await relay(nursery)
    a = await hidden(nursery, 2, r, repair_interval=0.2)
    b = await Peer(3, r.address, types=["biology"], repair_interval=0.2).start(nursery)
    await b.until_connected(a)


async def test_a_node_finds_relays_among_those_it_dials(nursery: trio.Nursery) -> None:
    r = await relay(nursery)
    plain = await Peer(4).start(nursery)
    a = await Peer(2, plain.address, r.address, listen=None, relays=["auto"]).start(nursery)
    with trio.fail_after(PATIENCE):
        assert await a.swarm.relayed() == [f"{r.address}/p2p-circuit/p2p/{a.identity.peer_id}"]


async def test_a_relay_that_is_given_twice_and_found_too_is_asked_once(nursery: trio.Nursery) -> None:
    r = await relay(nursery)
    elsewhere = r.address.replace("127.0.0.1", "127.0.0.2")
    a = await Peer(2, r.address, listen=None, relays=[r.address, "auto", elsewhere]).start(nursery)
    with trio.fail_after(PATIENCE):
        await a.swarm.relayed()
    await trio.testing.wait_all_tasks_blocked(0.1)
    assert a.swarm.addresses() == [f"{r.address}/p2p-circuit/p2p/{a.identity.peer_id}"]
    assert a.swarm._reservations._asked == {r.identity.peer_id}


async def test_when_the_relay_goes_its_circuits_go_and_come_back_with_it(nursery: trio.Nursery) -> None:
    r = await relay(nursery)
    listen = r.address.split("/p2p/")[0]
    a = await hidden(nursery, 2, r)
    b = await hidden(nursery, 3, r, a.address)
    await b.until_connected(a)
    await r.stop()
    await b.until_parted(a)
    await a.until_parted(b)
    assert a.swarm.addresses() == []
    await Peer(1, types=["networking"], relay_service=Limits(), listen=listen).start(nursery)
    await b.until_connected(a)


async def test_when_one_end_goes_the_circuit_is_gone_everywhere(nursery: trio.Nursery) -> None:
    r = await relay(nursery)
    a = await hidden(nursery, 2, r)
    b = await hidden(nursery, 3, r, a.address)
    await b.until_connected(a)
    await until(lambda: circuits(r) == 1)
    await b.stop()
    await a.until_parted(b)
    await until(lambda: circuits(r) == 0)
    for node in (a, r):
        for left in node.swarm._node.network.get_connections():
            await until(lambda left=left: not [s for s in left.get_streams() if s.get_protocol() in {HOP, STOP}])


async def test_a_relay_that_hangs_up_on_requests_or_answers_nonsense_is_tried_on(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservations, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(reservations, "LAST_DELAY", 0.01)
    bad = await Peer(1).start(nursery)
    answers = [
        b"",
        b"\xff\xff\xff",
        prefixed(HopMessage(type=HopMessage.CONNECT)),
        prefixed(HopMessage(type=HopMessage.STATUS, status=1)),
    ]
    told = []

    async def answer(stream: INetStream) -> None:
        told.append(said := answers[len(told) % len(answers)])
        await stream.write(said) if said else await stream.reset()

    bad.swarm._node.host.set_stream_handler(HOP, answer)
    a = await Peer(2, listen=None, relays=[bad.address]).start(nursery)
    node = a.swarm._node
    await until(lambda: len(told) > len(answers))
    assert a.swarm._node is node
    assert a.swarm.addresses() == []
    reasons = {vars(entry)["reason"] for entry in caplog.records if "no slot at the relay" in entry.message}
    assert len(reasons) >= len(answers)


async def test_a_slot_is_refreshed_before_it_ends(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reservations, "_LEAST_REFRESH", 0.01)
    r = await relay(nursery, Limits(seconds=1))
    ends: list[float] = []
    stock = r.swarm._relay._slots.reserve

    def reserve(peer_id: str, host: str, now: float) -> bool:
        ends.append(now)
        return stock(peer_id, host, now)

    monkeypatch.setattr(r.swarm._relay._slots, "reserve", reserve)
    await hidden(nursery, 2, r)
    await until(lambda: len(ends) == 3)
    assert all(later - earlier < 1 for earlier, later in itertools.pairwise(ends))


async def test_a_relay_without_room_is_tried_on(nursery: trio.Nursery, caplog: pytest.LogCaptureFixture) -> None:
    r = await relay(nursery, Limits(reservations=1))
    a = await hidden(nursery, 2, r)
    b = await Peer(3, listen=None, relays=[r.address]).start(nursery)
    await until(lambda: "no slot at the relay" in caplog.text)
    assert b.swarm.addresses() == []
    assert [vars(entry)["reason"] for entry in caplog.records if entry.levelno == logging.WARNING] == [
        "it refuses: reservation refused"
    ]
    await a.stop()
    with trio.fail_after(PATIENCE):
        await b.swarm.relayed()


async def test_a_relay_tells_where_it_is_also_when_it_listens_on_all_interfaces(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    r = await relay(nursery)
    here = Multiaddr(r.address)
    everywhere = r.address.replace("127.0.0.1", "0.0.0.0")
    async with stranger(r) as attacker:
        monkeypatch.setattr(relay_module, "hosts", lambda: ["192.0.2.7", "198.51.100.7"])
        monkeypatch.setattr(r.swarm._node.host, "get_addrs", lambda: [Multiaddr(everywhere), here])
        _, answer = await ask(attacker, RESERVE)
    assert [str(Multiaddr(told)) for told in answer.reservation.addrs] == [
        everywhere.replace("0.0.0.0", host) for host in ("192.0.2.7", "198.51.100.7", "127.0.0.1")
    ]


async def test_nobody_reserves_for_somebody_else(nursery: trio.Nursery) -> None:
    r = await relay(nursery)
    victim = await Peer(2, r.address).start(nursery)
    await victim.until_connected(r)
    async with stranger(r) as attacker, stranger(r, 67) as other:
        _, answer = await ask(attacker, HopMessage(type=HopMessage.RESERVE, peer=PeerId(id=raw_id(victim))))
        assert answer.status == Status.OK
        _, answer = await ask(other, connect(victim))
        assert answer.status == Status.NO_RESERVATION


async def test_a_relay_dials_nobody(nursery: trio.Nursery) -> None:
    r = await relay(nursery)
    a = await hidden(nursery, 2, r)
    await a.stop()
    await until(lambda: not r.swarm.peers())
    async with stranger(r) as attacker:
        _, answer = await ask(attacker, connect(a))
    assert answer.status == Status.NO_RESERVATION


async def test_without_the_service_there_is_none(nursery: trio.Nursery) -> None:
    plain = await Peer(1).start(nursery)
    async with stranger(plain) as attacker:
        with pytest.raises(StreamFailure):
            await attacker.open(HOP)
        await attacker.open("/ipfs/ping/1.0.0")


async def test_a_circuit_that_carries_too_much_is_cut_off_without_a_word(nursery: trio.Nursery) -> None:
    r = await relay(nursery, Limits(circuit_bytes=1000))
    a = await hidden(nursery, 2, r)
    async with stranger(r) as attacker:
        stream, answer = await ask(attacker, connect(a))
        assert (answer.status, answer.limit.data) == (Status.OK, 1000)
        await stream.write(os.urandom(1001))
        said = b""
        with trio.fail_after(PATIENCE), contextlib.suppress(BaseLibp2pError):
            while data := await stream.read(4096):
                said += data
        assert said in {b"", b"\x13/multistream/1.0.0\n"}, "nothing but what the other end says"
        await until(lambda: circuits(r) == 0)


async def test_an_idle_circuit_ends_when_its_time_is_over(nursery: trio.Nursery) -> None:
    r = await relay(nursery, Limits(circuit_seconds=0.2))
    a = await hidden(nursery, 2, r)
    async with stranger(r) as attacker:
        stream, answer = await ask(attacker, connect(a))
        assert (answer.status, answer.limit.duration) == (Status.OK, 1)
        await until_reset(stream)
        await until(lambda: circuits(r) == 0)


async def test_ends_dial_again_when_the_time_of_their_circuit_is_over(nursery: trio.Nursery) -> None:
    r = await relay(nursery, Limits(circuit_seconds=1))
    a = await hidden(nursery, 2, r)
    b = await hidden(nursery, 3, r, a.address)
    await b.until_connected(a)
    await b.until_parted(a)
    await b.until_connected(a)
    assert r.swarm.counters.circuits >= 2


async def test_there_are_only_so_many_circuits(nursery: trio.Nursery) -> None:
    r = await relay(nursery, Limits(per_pair=3))
    a = await hidden(nursery, 2, r)
    async with stranger(r) as attacker:
        answers = [(await ask(attacker, connect(a)))[1].status for _ in range(5)]
    assert answers == [Status.OK] * 3 + [Status.RESOURCE_LIMIT_EXCEEDED] * 2
    await until(lambda: circuits(r) == 0)


async def test_a_peer_that_refuses_or_is_no_espeer_costs_the_circuit(nursery: trio.Nursery) -> None:
    r = await relay(nursery)
    async with stranger(r) as target, stranger(r, 67) as source:
        await ask(target, RESERVE)
        message = HopMessage(type=HopMessage.CONNECT, peer=PeerId(id=target.host.get_id().to_bytes()))
        assert (await ask(source, message))[1].status == Status.CONNECTION_FAILED

        async def refuse(stream: INetStream) -> None:
            await receive(stream, StopMessage)
            await send(stream, StopMessage(type=StopMessage.STATUS, status=Status.RESOURCE_LIMIT_EXCEEDED))

        target.host.set_stream_handler(STOP, refuse)
        assert (await ask(source, message))[1].status == Status.CONNECTION_FAILED
        assert circuits(r) == 0


async def test_a_relay_answers_only_so_many_requests_of_one_peer(nursery: trio.Nursery) -> None:
    r = await relay(nursery)
    async with stranger(r) as attacker:
        answers = [(await ask(attacker, RESERVE))[1].status for _ in range(20)]
    assert answers[:16] == [Status.OK] * 16
    assert answers[-1] == Status.RESOURCE_LIMIT_EXCEEDED


async def test_who_is_denied_is_denied_through_a_relay_too(nursery: trio.Nursery) -> None:
    r = await relay(nursery)
    async with stranger(r) as denied:
        a = await hidden(nursery, 2, r, deny=[str(denied.host.get_id())])
        _, answer = await ask(denied, connect(a))
        assert answer.status == Status.CONNECTION_FAILED


async def test_a_relay_that_lies_about_who_comes_is_found_out_by_the_handshake(nursery: trio.Nursery) -> None:
    r = await relay(nursery)
    async with stranger(r) as denied:
        a = await hidden(nursery, 2, r, deny=[str(denied.host.get_id())])
        stream = await r.swarm._node.open_stream(a.identity.peer_id, STOP)
        await send(stream, StopMessage(type=StopMessage.CONNECT, peer=PeerId(id=raw_id(r))))
        assert (await receive(stream, StopMessage)).status == Status.OK
        circuit = Circuit(stream, ID(raw_id(r)), initiator=True)
        with trio.fail_after(PATIENCE), contextlib.suppress(BaseLibp2pError):
            await denied.host.upgrade_outbound_connection(circuit, ID(raw_id(a)))
        await until(lambda: a.swarm._reservations._inbound == 0)
        assert a.connected() == {r.identity.peer_id}


async def test_circuits_come_from_our_relays_only(nursery: trio.Nursery) -> None:
    r = await relay(nursery)
    a = await Peer(2, relays=[r.address]).start(nursery)
    async with stranger(a) as attacker:
        with contextlib.suppress(StreamFailure):  # it may be reset before it is agreed on
            stream = await attacker.open(STOP)
            await send(stream, StopMessage(type=StopMessage.CONNECT, peer=PeerId(id=raw_id(r))))
            await until_reset(stream)
        assert a.connected() == {r.identity.peer_id, str(attacker.host.get_id())}
        assert a.swarm._reservations._inbound == 0


async def test_garbage_is_answered_and_survived(nursery: trio.Nursery) -> None:
    r = await relay(nursery)
    node = r.swarm._node
    messages = {
        encode_varint_prefixed(b"\xff" * 16): Status.MALFORMED_MESSAGE,
        b"\xff\xff\xff\xff\x0f": Status.MALFORMED_MESSAGE,
        b"\x81\x20": Status.MALFORMED_MESSAGE,
        prefixed(HopMessage(type=HopMessage.CONNECT)): Status.MALFORMED_MESSAGE,
        prefixed(HopMessage(type=HopMessage.CONNECT, peer=PeerId(id=b"\xff" * 65))): Status.MALFORMED_MESSAGE,
        prefixed(HopMessage(type=HopMessage.STATUS)): Status.UNEXPECTED_MESSAGE,
        prefixed(HopMessage()): Status.MALFORMED_MESSAGE,
    }
    rest = list(messages.items())
    for seed in (66, 67, 68):  # a peer that does it four times is banned
        async with stranger(r, seed) as attacker:
            for message, status in rest[:3]:
                stream = await attacker.open(HOP)
                await stream.write(message)
                with trio.fail_after(PATIENCE):
                    assert (await receive(stream, HopMessage)).status == status
                    await until_reset(stream)
        del rest[:3]
    assert rest == []
    a = await hidden(nursery, 2, r)
    assert a.connected() == {r.identity.peer_id}
    assert r.swarm._node is node


async def test_a_circuit_is_paced(nursery: trio.Nursery) -> None:
    r = await relay(nursery, Limits(rate=40_000))
    arrived = trio.Event()

    async def take(stream: INetStream) -> None:
        await receive(stream, StopMessage)
        await send(stream, StopMessage(type=StopMessage.STATUS, status=Status.OK))
        left = 20_003
        while left > 0:
            left -= len(await stream.read(left))
        arrived.set()
        await trio.sleep_forever()

    async with stranger(r) as target, stranger(r, 67) as source:
        target.host.set_stream_handler(STOP, take)
        await ask(target, RESERVE)
        message = HopMessage(type=HopMessage.CONNECT, peer=PeerId(id=target.host.get_id().to_bytes()))
        stream, answer = await ask(source, message)
        assert answer.status == Status.OK
        began = trio.current_time()
        await stream.write(bytes(20_000))
        await stream.write(b"end")
        with trio.fail_after(PATIENCE):
            await arrived.wait()
        assert trio.current_time() - began >= 20_000 / 40_000


async def test_garbage_in_place_of_a_secured_circuit_is_survived(nursery: trio.Nursery) -> None:
    r = await relay(nursery)
    a = await hidden(nursery, 2, r)
    async with stranger(r) as attacker:
        stream, _ = await ask(attacker, connect(a))
        await stream.write(b"\x08garbage\n" + os.urandom(512))
        await until_reset(stream)
        await until(lambda: circuits(r) == 0 and a.swarm._reservations._inbound == 0)
    b = await hidden(nursery, 3, r, a.address)
    await b.until_connected(a)
