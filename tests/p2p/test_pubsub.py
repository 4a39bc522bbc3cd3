from types import SimpleNamespace

import pytest
import trio
import trio.testing
from libp2p.network.stream.exceptions import StreamReset
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.utils import encode_varint_prefixed
from replicas import PATIENCE, Peer, identity, record
from stranger import MESHSUB, TOPIC, rpc, stranger, until_reset

from espeer.errors import EspeerError, SlowReader
from espeer.p2p import hardening
from espeer.p2p.limits import Buckets
from espeer.p2p.pubsub import BURST, MAX_CONTROL, MAX_MESSAGES, RATE, STALL_SECONDS, SafePubsub
from espeer.p2p.router import MAX_BACK_OFF
from espeer.p2p.wire import encode_batch

PEER = ID.from_string(identity(5).peer_id)


def control(**parts: object) -> dict[str, object]:
    return {"control": rpc_pb2.ControlMessage(**parts)}


@pytest.mark.parametrize(
    ("fields", "score"),
    [
        ({"publish": [rpc_pb2.Message()] * (MAX_MESSAGES + 1)}, 20),
        ({"subscriptions": [rpc_pb2.RPC.SubOpts(topicid="x")] * (MAX_MESSAGES + 1)}, 20),
        (control(ihave=[rpc_pb2.ControlIHave(topicID=TOPIC, messageIDs=[b"ab"] * (MAX_CONTROL + 1))]), 20),
        (control(iwant=[rpc_pb2.ControlIWant(messageIDs=[b"ab"] * (MAX_CONTROL + 1))]), 20),
        (control(graft=[rpc_pb2.ControlGraft(topicID=TOPIC)] * (MAX_CONTROL + 1)), 20),
    ],
    ids=["messages", "subscriptions", "ihave", "iwant", "graft"],
)
async def test_more_than_anybody_needs_in_one_rpc_is_an_offence(
    nursery: trio.Nursery, fields: dict[str, object], score: float
) -> None:
    victim = await Peer(1).start(nursery)
    async with stranger(victim) as attacker:
        stream = await attacker.open(MESHSUB)
        await stream.write(encode_varint_prefixed(rpc_pb2.RPC(**fields).SerializeToString()))
        await until_reset(stream)
        assert victim.swarm.peers()[0].score == pytest.approx(score, abs=0.1)


@pytest.mark.parametrize(
    ("data", "score"), [(b"\x20" + b"\xff" * 32, 25), (b"\xff\xff\xff\xff\x0f", 50)], ids=["garbage", "huge"]
)
async def test_what_is_no_rpc_is_an_offence(nursery: trio.Nursery, data: bytes, score: float) -> None:
    victim = await Peer(1).start(nursery)
    async with stranger(victim) as attacker:
        stream = await attacker.open(MESHSUB)
        await stream.write(data)
        await until_reset(stream)
        assert victim.swarm.peers()[0].score == pytest.approx(score, abs=0.1)


async def test_what_is_ignored_does_not_stand_for_what_may_come(nursery: trio.Nursery) -> None:
    """A forged copy with the number of a message to come does not keep that message out."""
    victim = await Peer(1).start(nursery)
    known, new = record(1), record(2)
    async with stranger(victim) as attacker:
        stream = await attacker.open(MESHSUB)
        await stream.write(rpc(attacker.message(*encode_batch([known]))))
        await victim.door.until_holds([known])
        good = attacker.message(*encode_batch([new]))
        forged = rpc_pb2.Message(data=encode_batch([known])[0], topicIDs=[TOPIC], from_id=good.from_id, seqno=good.seqno)
        await stream.write(rpc(forged))
        await stream.write(rpc(good))
        await victim.door.until_holds([new])
    assert victim.swarm.counters.replayed == 1


async def test_a_peer_is_read_at_a_pace_and_nothing_is_lost(autojump_clock: trio.testing.MockClock) -> None:
    taken = []
    pubsub = SafePubsub.__new__(SafePubsub)
    pubsub._shares = Buckets(RATE, BURST)
    pubsub._is_subscribed_to_msg = lambda _: True

    async def push_msg(_peer: ID, message: rpc_pb2.Message) -> None:
        taken.append(message.seqno)

    pubsub.push_msg = push_msg
    for number in range(3000):
        await pubsub._take(PEER, rpc_pb2.RPC(publish=[rpc_pb2.Message(seqno=number.to_bytes(8, "big"))]), 0)
    assert taken == [number.to_bytes(8, "big") for number in range(3000)]
    assert trio.current_time() == pytest.approx((3000 - BURST) / RATE, abs=0.1)


@pytest.mark.parametrize(("seconds", "slow"), [(STALL_SECONDS + 0.5, True), (0.5, False)])
async def test_who_does_not_read_its_gossip_is_told_on(
    autojump_clock: trio.testing.MockClock, seconds: float, slow: bool
) -> None:
    async def write(_data: bytes) -> None:
        await trio.sleep(seconds)
        raise StreamReset

    blamed: list[EspeerError] = []
    pubsub = SafePubsub.__new__(SafePubsub)
    pubsub._blame = lambda _peer, error: blamed.append(error)
    pubsub._handle_dead_peer = lambda _peer: None
    stream = SimpleNamespace(write=write, muxed_conn=SimpleNamespace(peer_id=PEER))
    assert not await pubsub.write_msg(stream, rpc_pb2.RPC())
    assert [type(error) for error in blamed] == [SlowReader] * slow


async def test_what_waits_for_a_slow_peer_is_bounded_in_bytes() -> None:
    queue = hardening._Queue()
    large = rpc_pb2.RPC(publish=[rpc_pb2.Message(data=bytes(64 * 1024))])
    pushed = sum(queue.push(large) for _ in range(200))
    assert pushed == hardening.OUTBOUND_BYTES // large.ByteSize()
    assert await queue.pop() == large
    assert queue.push(large)
    assert not queue.push(large)


async def test_what_a_peer_that_is_gone_said_is_forgotten_with_it(nursery: trio.Nursery) -> None:
    victim = await Peer(1).start(nursery)
    pubsub, router = victim.swarm._node.pubsub, victim.swarm._node.gossipsub
    pubsub._shares = Buckets[str](100.0, 1.0)
    async with stranger(victim) as attacker:
        stream = await attacker.open(MESHSUB)
        pruned = rpc_pb2.ControlPrune(topicID=TOPIC, backoff=2**40)
        parts = control(
            graft=[rpc_pb2.ControlGraft(topicID=TOPIC)], prune=[pruned], ihave=[rpc_pb2.ControlIHave(topicID=TOPIC)]
        )
        subscriptions = [rpc_pb2.RPC.SubOpts(subscribe=True, topicid=TOPIC)]
        await stream.write(rpc(*[rpc_pb2.Message()] * 100, subscriptions=subscriptions, **parts))  # read in a second
        ghost = attacker.host.get_id()
        await trio.sleep(0.2)
    await victim.swarm._links.wait_for(lambda up: not up)
    await trio.sleep(1.5)
    assert ghost not in pubsub.peer_topics.get(TOPIC, ())
    assert ghost not in router.mesh[TOPIC]
    assert ghost not in router.ihave_message_limits
    assert ghost not in router.back_off.get(TOPIC, {})


async def test_nothing_is_kept_of_a_peer_that_sends_gossip_and_takes_none(nursery: trio.Nursery) -> None:
    victim = await Peer(1).start(nursery)
    router = victim.swarm._node.gossipsub
    async with stranger(victim) as attacker:
        ghost = attacker.host.get_id()
        stream = await attacker.open(MESHSUB)
        ihave = rpc_pb2.ControlIHave(topicID=TOPIC, messageIDs=[b"ab" * 20])
        await stream.write(rpc(**control(graft=[rpc_pb2.ControlGraft(topicID=TOPIC)], ihave=[ihave])))
        with trio.fail_after(PATIENCE):
            while ghost not in router._promises:
                await trio.testing.wait_all_tasks_blocked(0.05)
        router.scorer.penalize_graft_flood(ghost, 0.0)
    await victim.swarm._links.wait_for(lambda up: not up)
    await trio.sleep(0.2)
    assert ghost not in victim.swarm._node.network.auto_connector._recent_disconnects
    kept = {**vars(router), **vars(router.scorer)}
    assert [name for name, value in kept.items() if isinstance(value, dict | set) and ghost in value] == []
    assert ghost not in router.mesh[TOPIC]


async def test_backoff_is_not_kept_for_ever_of_peers_that_are_gone(nursery: trio.Nursery) -> None:
    victim = await Peer(1).start(nursery)
    router = victim.swarm._node.gossipsub
    for seed in range(MAX_BACK_OFF + 1):
        router._add_back_off(ID.from_string(identity(seed + 100).peer_id), TOPIC, False, 2**40)
    router.gossip_heartbeat()
    assert len(router.back_off[TOPIC]) == 0
    router._add_back_off(PEER, TOPIC, False, 60)
    router.gossip_heartbeat()
    assert len(router.back_off[TOPIC]) == 1
