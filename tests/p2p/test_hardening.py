import logging
import random

import pytest
import trio
import trio.testing
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.io.exceptions import MessageTooLarge
from libp2p.network.connection import swarm_connection
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.utils import encode_varint_prefixed
from multiaddr import Multiaddr
from replicas import PATIENCE, Peer, identity, record, records
from stranger import MESHSUB, SYNC, TOPIC, Stranger, rpc, stranger, until_reset

from espeer.p2p import hardening
from espeer.p2p.wire import encode_batch

BOOM = "/boom/1"
GARBAGE = random.Random(7)  # the same each time: by chance some would be a message


async def still_serves(victim: Peer, node: object, nursery: trio.Nursery) -> None:
    """The same libp2p node is still there, and gossips and syncs with who comes."""
    honest = await Peer(20, victim.address, held=records(2, start=900)).start(nursery)
    await victim.door.until_holds(records(0) + list(honest.door.held.values()))
    await honest.until_meshed(victim)
    fresh = [record(999)]
    honest.swarm.publish(fresh)
    await victim.door.until_holds(fresh)
    assert victim.swarm._node is node


async def deliver(attacker: Stranger, stream: INetStream, victim: Peer, number: int) -> None:
    """Have a good message arrive: what was sent before it was dealt with."""
    good = record(number)
    await stream.write(rpc(attacker.message(*encode_batch([good]))))
    await victim.door.until_holds([good])


@pytest.mark.parametrize(
    ("protocol", "garbage"),
    [
        (MESHSUB, b"\x20" + GARBAGE.randbytes(32)),
        (MESHSUB, b"\xff" * 64),
        (MESHSUB, b"\xff\xff\xff\xff\x0f"),
        (SYNC, GARBAGE.randbytes(4096)),
        (SYNC, b"\x00\x00\x00\x04\xc1\xc1\xc1\xc1"),
        (SYNC, b"\xff\xff\xff\xff"),
        ("/ipfs/id/push/1.0.0", b"\x20" + GARBAGE.randbytes(32)),
        ("/ipfs/ping/1.0.0", b"x" * 7),
        ("/ipfs/id/1.0.0", GARBAGE.randbytes(64)),
    ],
)
async def test_garbage_on_any_protocol_is_survived(nursery: trio.Nursery, protocol: str, garbage: bytes) -> None:
    victim = await Peer(1).start(nursery)
    node = victim.swarm._node
    async with stranger(victim) as attacker:
        stream = await attacker.open(protocol)
        await stream.write(garbage)
        await stream.close_write()
        await until_reset(stream)
        await still_serves(victim, node, nursery)


async def test_garbage_in_place_of_a_protocol_is_survived(nursery: trio.Nursery) -> None:
    victim = await Peer(1).start(nursery)
    node = victim.swarm._node
    async with stranger(victim) as attacker:
        await attacker.open(MESHSUB)
        (connection,) = attacker.host.get_network().get_connections()
        stream = await connection.new_stream()
        await stream.write(b"\x05" + b"\xfe" * 5)
        await until_reset(stream)
        await still_serves(victim, node, nursery)


async def test_garbage_in_place_of_streams_is_survived(nursery: trio.Nursery) -> None:
    victim = await Peer(1).start(nursery)
    node = victim.swarm._node
    async with stranger(victim) as attacker:
        await attacker.open(MESHSUB)
        (connection,) = attacker.host.get_network().get_connections()
        await connection.muxed_conn.secured_conn.write(b"\xee" * 4096)
        await connection.muxed_conn.secured_conn.write(b"\x00\x00\x00\x01\x00\x00\x00\x03\xff\xff\xff\xff")
        await still_serves(victim, node, nursery)


async def test_garbage_in_place_of_noise_is_survived(nursery: trio.Nursery) -> None:
    victim = await Peer(1).start(nursery)
    node = victim.swarm._node
    stream = await trio.open_tcp_stream("127.0.0.1", int(victim.address.split("/")[4]))
    async with stream:
        await stream.send_all(GARBAGE.randbytes(4096))
        await still_serves(victim, node, nursery)


async def test_what_a_peer_says_of_itself_is_not_kept(nursery: trio.Nursery) -> None:
    victim = await Peer(1).start(nursery)
    said = Identify(protocols=["/made/up/1"], listen_addrs=[Multiaddr("/ip4/192.0.2.1/tcp/1").to_bytes()])
    answered = trio.Event()

    async def answer(stream: INetStream) -> None:
        await stream.write(encode_varint_prefixed(said.SerializeToString()))
        await stream.close_write()
        await until_reset(stream)
        answered.set()

    async with stranger(victim) as attacker:
        attacker.host.set_stream_handler(TProtocol("/ipfs/id/1.0.0"), answer)
        stream = await attacker.open("/ipfs/id/push/1.0.0")
        await stream.write(encode_varint_prefixed(said.SerializeToString()))
        await stream.close_write()
        await until_reset(stream)
        with trio.fail_after(PATIENCE):
            await answered.wait()
        assert attacker.host.get_id() not in victim.swarm._node.host.get_peerstore().peer_ids()


@pytest.mark.parametrize(
    ("sender", "key"), [(b"", b""), (b"\xff" * 40, b""), (b"\x12\x20" + b"k" * 32, b"\xff" * 40), (b"\x00", b"k")]
)
async def test_a_message_from_nobody_is_survived(nursery: trio.Nursery, sender: bytes, key: bytes) -> None:
    victim = await Peer(1).start(nursery)
    node = victim.swarm._node
    unheard = record(7)
    async with stranger(victim) as attacker:
        stream = await attacker.open(MESHSUB)
        bad = attacker.message(*encode_batch([unheard]))
        bad.from_id, bad.key = sender, key
        await stream.write(rpc(bad))
        await deliver(attacker, stream, victim, 1)
        assert victim.swarm.counters.rejected == 1
        await still_serves(victim, node, nursery)
    assert unheard.id not in victim.door.held


async def test_a_handler_that_raises_is_survived(nursery: trio.Nursery) -> None:
    async def boom(stream: INetStream) -> None:
        await stream.read(1)
        raise RuntimeError("boom")

    victim = await Peer(1).start(nursery)
    node = victim.swarm._node
    node.host.set_stream_handler(TProtocol(BOOM), boom)
    async with stranger(victim) as attacker:
        stream = await attacker.open(BOOM)
        await stream.write(b"x")
        await until_reset(stream)
        await still_serves(victim, node, nursery)


async def test_a_fault_of_ours_in_judging_is_survived(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    called = trio.Event()

    def boom(*_: object) -> None:
        called.set()
        raise RuntimeError("boom")

    victim = await Peer(1).start(nursery)
    node = victim.swarm._node
    async with stranger(victim) as attacker:
        stream = await attacker.open(MESHSUB)
        with monkeypatch.context() as patches:
            patches.setattr(node.pubsub, "_judge", boom)
            await stream.write(rpc(attacker.message(b"x")))
            with trio.fail_after(PATIENCE):
                await called.wait()
        await still_serves(victim, node, nursery)
    assert victim.swarm.counters.offences == 0


async def test_a_publisher_that_restarts_at_once_is_heard(nursery: trio.Nursery) -> None:
    b = await Peer(2).start(nursery)
    for life in range(2):
        a = await Peer(1, b.address).start(nursery)
        await a.until_meshed(b)
        new = records(5, start=10 * life)
        for signed in new:  # a message each
            a.swarm.publish([signed])
            await b.door.until_holds([signed])
        assert {b.door.via[signed.id] for signed in new} == {"gossip"}
        await a.stop()
        await b.until_parted(a)


async def test_a_burst_of_messages_is_not_dropped(nursery: trio.Nursery) -> None:
    a = await Peer(1).start(nursery)
    b = await Peer(2, a.address).start(nursery)
    await a.until_meshed(b)
    new = records(100)
    for message in (encode_batch([signed])[0] for signed in new):
        await a.swarm._node.pubsub.publish(TOPIC, message)
    await b.door.until_holds(new)
    assert {b.door.via[signed.id] for signed in new} == {"gossip"}


async def test_pruned_peers_still_hear_what_there_is(nursery: trio.Nursery) -> None:
    a = await Peer(1).start(nursery)
    b = await Peer(2, a.address).start(nursery)
    await a.until_meshed(b)
    await b.until_meshed(a)
    for peer, other in ((a, b), (b, a)):
        router, who = peer.swarm._node.gossipsub, ID.from_string(other.identity.peer_id)
        router.mesh[TOPIC].discard(who)
        router._add_back_off(who, TOPIC, is_unsubscribe=False)
    new = [record(1)]
    a.swarm.publish(new)
    await b.door.until_holds(new)
    assert b.door.via[new[0].id] == "gossip"
    assert a.swarm.peers()[0].mesh == ("networking",)


async def test_made_up_topics_are_not_remembered(nursery: trio.Nursery) -> None:
    victim = await Peer(1).start(nursery)
    node = victim.swarm._node
    topics = [f"/espeer/1/other/{number}" for number in range(50)] + ["x" * 1000, "/espeer/1/test/NOT A TYPE"]
    control = rpc_pb2.ControlMessage(
        prune=[rpc_pb2.ControlPrune(topicID=topic, backoff=9) for topic in topics],
        ihave=[rpc_pb2.ControlIHave(topicID=topic, messageIDs=[b"id"]) for topic in topics],
    )
    async with stranger(victim) as attacker:
        stream = await attacker.open(MESHSUB)
        subscriptions = [rpc_pb2.RPC.SubOpts(subscribe=True, topicid=topic) for topic in [*topics, TOPIC]]
        await stream.write(rpc(subscriptions=subscriptions, control=control))
        await deliver(attacker, stream, victim, 1)
        assert set(node.pubsub.peer_topics) == {TOPIC}
        assert not node.gossipsub.back_off
        assert all(not limits for limits in node.gossipsub.ihave_message_limits.values())


async def test_peers_offered_with_a_prune_are_not_dialled(nursery: trio.Nursery) -> None:
    victim = await Peer(1).start(nursery)
    bait = await Peer(2).start(nursery)
    await bait.until_connected()
    offered = rpc_pb2.PeerInfo(peerID=ID.from_string(bait.identity.peer_id).to_bytes())
    node = victim.swarm._node
    node.host.get_peerstore().add_addrs(ID.from_string(bait.identity.peer_id), bait.swarm._node.host.get_transport_addrs(), 99)
    async with stranger(victim) as attacker:
        stream = await attacker.open(MESHSUB)
        control = rpc_pb2.ControlMessage(prune=[rpc_pb2.ControlPrune(topicID=TOPIC, peers=[offered])])
        await stream.write(rpc(control=control))
        await deliver(attacker, stream, victim, 1)
        assert victim.connected() == {str(attacker.host.get_id())}


async def test_libp2p_dials_nobody_by_itself(nursery: trio.Nursery) -> None:
    a = await Peer(1).start(nursery)
    b = await Peer(2).start(nursery)
    node = a.swarm._node
    node.host.get_peerstore().add_addrs(ID.from_string(b.identity.peer_id), b.swarm._node.host.get_transport_addrs(), 99)
    await node.network.auto_connector.maybe_connect()
    assert not node.network.get_connections()


async def test_no_peer_record_goes_with_a_message(nursery: trio.Nursery) -> None:
    class Sink:
        data = b""

        async def write(self, data: bytes) -> None:
            self.data += data

    a = await Peer(1).start(nursery)
    pubsub = a.swarm._node.pubsub
    assert not pubsub.get_hello_packet().HasField("senderRecord")
    sink = Sink()
    assert await pubsub.write_msg(sink, pubsub._build_announce_rpc(TOPIC, subscribe=True)[0])
    sent = rpc_pb2.RPC()
    sent.ParseFromString(sink.data[1:])
    assert sent.subscriptions[0].topicid == TOPIC
    assert not sent.HasField("senderRecord")


class Chunks:
    """A stream that gives what it is made of, piece by piece."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = list(chunks)
        self.reads = 0

    async def read(self, _n: int) -> bytes:
        self.reads += 1
        return self.chunks.pop(0) if self.chunks else b""


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_messages_are_read_whole_however_they_come(size: int) -> None:
    data = b"\x03abc" + b"\x00" + b"\x80\x01" + b"d" * 128
    stream = Chunks(*(data[start : start + size] for start in range(0, len(data), size)))
    read = hardening.read_prefixed
    assert [await read(stream, 128) for _ in range(3)] == [b"abc", b"", b"d" * 128]
    assert stream.reads == -(-len(data) // size)
    with pytest.raises(StreamEOF):
        await read(stream, 128)


@pytest.mark.parametrize("data", [b"\x81\x01" + b"x" * 129, b"\xff" * 10])
async def test_messages_over_the_limit_are_not_read(data: bytes) -> None:
    with pytest.raises(MessageTooLarge):
        await hardening.read_prefixed(Chunks(data), 128)


def test_libp2p_writes_nothing_to_the_terminal(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    hardening.apply()
    hardening.apply()
    handlers = list(logging.getLogger().handlers)
    with caplog.at_level(logging.DEBUG, logger="espeer.libp2p"):
        logging.getLogger("libp2p.host").error("peer %s did it", "P")
        swarm_connection.logging.warning("a connection closed")
    assert logging.getLogger().handlers == handlers
    assert capfd.readouterr() == ("", "")
    forwarded = [entry for entry in caplog.records if entry.name == "espeer.libp2p"]
    assert [(entry.levelno, entry.message) for entry in forwarded] == [
        (logging.DEBUG, "libp2p.host: peer P did it"),
        (logging.DEBUG, "libp2p.network.connection: a connection closed"),
    ]


async def test_the_identities_agree() -> None:
    assert str(ID.from_pubkey(identity(1).key_pair.public_key)) == identity(1).peer_id
