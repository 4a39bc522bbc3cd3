from contextlib import AsyncExitStack, suppress

import pytest
import trio
import trio.testing
from libp2p.abc import INetStream
from libp2p.host.exceptions import StreamFailure
from replicas import PATIENCE, Peer, record, records
from stranger import SYNC, stranger, until_reset

from espeer.keys import KeySet, key_of
from espeer.p2p import pull as pull_module
from espeer.p2p import reconcile
from espeer.p2p import room as room_module
from espeer.p2p import sync as sync_module
from espeer.p2p.frames import Frames
from espeer.p2p.hardening import guard
from espeer.p2p.sync import CAME_SECONDS, MAX_CAME
from espeer.p2p.wire import pack, unpack

NEVER = 3600.0


async def test_a_peer_that_lacks_something_is_told_and_gets_it(nursery: trio.Nursery) -> None:
    a = await Peer(1, repair_interval=NEVER).start(nursery)
    b = await Peer(2, a.address, repair_interval=0.2).start(nursery)
    await b.until_connected(a)
    silent = records(3)
    await b.door.add(silent, via="own")  # only b compares, and b has it
    await a.door.until_holds(silent)
    assert {a.door.via[signed.id] for signed in silent} == {"sync"}


async def test_whoever_comes_is_pulled_from_in_both_directions(nursery: trio.Nursery) -> None:
    ours, theirs = records(20), records(20, start=20)
    a = await Peer(1, held=ours, repair_interval=NEVER).start(nursery)
    b = await Peer(2, a.address, held=theirs, repair_interval=NEVER).start(nursery)
    await a.door.until_holds(theirs)
    await b.door.until_holds(ours)
    assert a.swarm.counters.duplicates == b.swarm.counters.duplicates == 0


async def test_a_late_joiner_gets_each_record_once_from_whoever_has_it(nursery: trio.Nursery) -> None:
    held = [record(number, created=1_700_000_000_000 + number) for number in range(3000)]
    others = [await Peer(1, held=held, repair_interval=NEVER).start(nursery)]
    for seed in (2, 3):
        others.append(await Peer(seed, others[0].address, held=held, repair_interval=NEVER).start(nursery))
    last = await Peer(9, *(other.address for other in others), repair_interval=NEVER).start(nursery)
    await last.door.until_holds(held)
    assert last.swarm.counters.synced_in == 3000
    assert last.swarm.counters.duplicates == 0
    assert sum(other.swarm.counters.synced_out for other in others) == 3000


async def test_a_check_of_equal_replicas_takes_one_round_and_less_than_a_kilobyte(nursery: trio.Nursery) -> None:
    held = [record(number, created=1_700_000_000_000 + number) for number in range(1000)]
    a = await Peer(1, held=held, types=["biology"], repair_interval=NEVER).start(nursery)
    b = await Peer(2, a.address, held=held, types=["biology"], repair_interval=0.1).start(nursery)
    await b.until_connected(a)
    with trio.fail_after(PATIENCE):
        while b.swarm.counters.sync_checks < 5:
            await trio.testing.wait_all_tasks_blocked(0.05)
    checks = b.swarm.counters.sync_checks
    assert b.swarm.counters.sync_rounds == checks
    # what a began when b came is in there, too
    moved = b.swarm.counters.sync_bytes_in + b.swarm.counters.sync_bytes_out
    assert moved < 1000 * (checks + 1)


async def test_a_peer_may_pull_twice_at_a_time_and_not_more(nursery: trio.Nursery) -> None:
    victim = await Peer(1).start(nursery)
    async with stranger(victim) as greedy:
        first, second = [await greedy.open(SYNC) for _ in range(2)]
        with suppress(StreamFailure):  # reset while it is agreed on, or right after
            await until_reset(await greedy.open(SYNC))
        for stream in (first, second):
            await stream.write(b"\0\0\0\x07" + b"\x92\xa4done\x90")  # it is still heard
        await until_reset(first)
        await until_reset(second)
    assert victim.swarm.counters.sync_bytes_in == 22


async def test_peers_that_trickle_keep_nothing_from_us_for_long(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_module, "TURN_SECONDS", 1.0)
    monkeypatch.setattr(pull_module, "CLAIM_SECONDS", 0.5)
    held = records(20)
    victim = await Peer(1, types=["biology"], repair_interval=NEVER).start(nursery)
    keys = KeySet(key_of(one.record.created, one.id) for one in held).snapshot()

    async def trickle(stream: INetStream) -> None:
        frames = Frames(stream)
        await frames.send(pack(["reconcile", reconcile.answer(keys, unpack(await frames.receive())[2])]))
        await frames.receive()  # it is asked for all
        await stream.write((10_000).to_bytes(4, "big"))
        while True:
            await stream.write(b"\0")
            await trio.sleep(0.1)

    async with AsyncExitStack() as stack:
        for seed in range(50, 50 + sync_module.MAX_PULLS):
            bad = await stack.enter_async_context(stranger(victim, seed))
            bad.host.set_stream_handler(SYNC, guard(trickle))
            await bad.open(SYNC)
            victim.swarm._sync.request(str(bad.host.get_id()))
        await trio.testing.wait_all_tasks_blocked(0.05)
        good = await Peer(2, victim.address, held=held, types=["biology"], repair_interval=NEVER).start(nursery)
        await good.until_connected(victim)
        await victim.door.until_holds(held)


async def test_peers_that_hold_all_streams_keep_nobody_out(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_module, "GRACE", 0.2)
    held = records(5)
    victim = await Peer(1, held=held, types=["biology"], repair_interval=NEVER).start(nursery)
    async with AsyncExitStack() as stack:
        for seed in range(50, 50 + sync_module.MAX_INBOUND // 2):
            greedy = await stack.enter_async_context(stranger(victim, seed))
            for _ in range(2):
                await greedy.open(SYNC)
        await trio.sleep(0.3)
        good = await Peer(2, victim.address, types=["biology"], repair_interval=NEVER).start(nursery)
        await good.door.until_holds(held)


async def test_who_subscribes_again_and_again_is_not_pulled_from_each_time(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = Peer(1).swarm._sync
    asked: list[str] = []
    monkeypatch.setattr(sync._rounds, "request", asked.append)
    for _ in range(1000):
        sync.subscribed("restless")
    sync.subscribed("another")
    assert asked == ["restless"] * MAX_CAME + ["another"]
    await trio.sleep(10 * CAME_SECONDS)
    for _ in range(1000):
        sync.subscribed("restless")
    assert len(asked) == MAX_CAME + 1 + 10
    assert autojump_clock.current_time() >= 10 * CAME_SECONDS
