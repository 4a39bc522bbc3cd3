from collections.abc import Sequence

import msgpack
import pytest
import trio
from replicas import Peer, identity, now_ms, record, records
from stranger import MESHSUB, rpc, stranger

from espeer.p2p.wire import MAX_BATCH, encode_batch
from espeer.records import MAX_CLOCK_SKEW_MS, SignedRecord, encode


def forged() -> bytes:
    """A record with another's signature."""
    body, _ = msgpack.unpackb(encode(record(1)))
    _, signature = msgpack.unpackb(encode(record(2)))
    return msgpack.packb([msgpack.packb([body, signature])])


def in_the_future() -> bytes:
    return encode_batch([record(3, created=now_ms() + 2 * MAX_CLOCK_SKEW_MS)])[0]


def too_many() -> bytes:
    return msgpack.packb([encode(signed) for signed in records(65)])


@pytest.mark.parametrize(
    "data",
    [
        encode_batch(records(1, kind="networking"))[0],
        encode_batch([record(1), record(2, kind="networking")])[0],
        forged(),
        in_the_future(),
        too_many(),
        b"\xc0" * (MAX_BATCH + 1),
        b"\x90",
        b"",
    ],
    ids=["other-type", "mixed-types", "forged", "future", "many", "large", "none", "empty"],
)
async def test_a_bad_message_is_neither_stored_nor_passed_on(nursery: trio.Nursery, data: bytes) -> None:
    victim = await Peer(1).start(nursery)
    witness = await Peer(2, victim.address).start(nursery)
    await victim.until_meshed(witness)
    good = record(9)
    async with stranger(victim) as attacker:
        stream = await attacker.open(MESHSUB)
        await stream.write(rpc(attacker.message(data)))
        await stream.write(rpc(attacker.message(*encode_batch([good]))))
        await witness.door.until_holds([good])
    for peer in (victim, witness):
        assert list(peer.door.held) == [good.id]
    assert victim.swarm.counters.rejected == 1
    assert witness.swarm.counters.rejected == 0


async def test_a_message_on_two_topics_is_refused(nursery: trio.Nursery) -> None:
    victim = await Peer(1).start(nursery)
    async with stranger(victim) as attacker:
        stream = await attacker.open(MESHSUB)
        topics = "/espeer/1/test/biology", "/espeer/1/test/networking"
        await stream.write(rpc(attacker.message(*encode_batch([record(1)]), *topics)))
        good = record(2)
        await stream.write(rpc(attacker.message(*encode_batch([good]))))
        await victim.door.until_holds([good])
        assert list(victim.door.held) == [good.id]


async def test_what_the_outbox_has_no_room_for_is_dropped_and_counted() -> None:
    peer = Peer(1)
    batch = [record(1, author=identity(3))] * 3000
    peer.swarm.publish(batch)
    peer.swarm.publish(batch)
    assert peer.swarm.counters.dropped == 6000 - 4096


async def test_what_waits_for_the_door_is_given_to_it_together(nursery: trio.Nursery) -> None:
    """A transaction for each message is what a flood would drown the door with."""
    peer = Peer(1)
    sizes = []
    add = peer.door.add

    async def counted(batch: Sequence[SignedRecord], *, via: str) -> int:
        sizes.append(len(batch))
        return await add(batch, via=via)

    peer.door.add = counted
    waiting = records(400)
    for signed in waiting[:100]:
        peer.swarm._gossip._inbox_in.send_nowait([signed])
    for start in range(100, 400, 50):
        peer.swarm._gossip._inbox_in.send_nowait(waiting[start : start + 50])
    nursery.start_soon(peer.swarm._gossip._deliver)
    await peer.door.until_holds(waiting)
    assert sizes == [300, 100]
    nursery.cancel_scope.cancel()
