import contextlib
from types import SimpleNamespace

import trio
import trio.testing
from replicas import PATIENCE, Peer, identity, now_ms, record
from stranger import MESHSUB, rpc, stranger

from espeer.errors import BadSignature, FromTheFuture, StoreFull
from espeer.p2p.bans import Bans
from espeer.p2p.door import Counters
from espeer.p2p.trust import FIRST_BAN
from espeer.p2p.wire import encode_batch
from espeer.records import MAX_CLOCK_SKEW_MS

WHO = identity(5).peer_id


async def test_offences_are_counted_and_enough_of_them_ban(autojump_clock: trio.testing.MockClock) -> None:
    counters = Counters()
    bans = Bans(counters)
    for error in (FromTheFuture("x"), StoreFull("x")):
        bans.blame(WHO, error)
    assert (counters.offences, bans.score(WHO)) == (0, 0)
    bans.blame(WHO, BadSignature("x"))
    assert not bans.banned(WHO)
    bans.blame(WHO, BadSignature("x"))
    assert bans.banned(WHO)
    assert (counters.offences, counters.bans) == (2, 1)
    await trio.sleep(FIRST_BAN)
    assert not bans.banned(WHO)


async def test_who_is_banned_is_thrown_out_though_the_goodbye_hangs(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    called = trio.Event()

    async def disconnect(_peer: object) -> None:
        called.set()
        await trio.sleep_forever()

    node = SimpleNamespace(host=SimpleNamespace(disconnect=disconnect), network=SimpleNamespace(get_connections=lambda _: []))
    bans = Bans(Counters())
    nursery.start_soon(bans.run, node)
    for who in (WHO, identity(6).peer_id):
        called = trio.Event()
        for _ in range(3):
            bans.blame(who, BadSignature("x"))
        with trio.fail_after(1):
            await called.wait()
    nursery.cancel_scope.cancel()


async def test_a_forger_is_thrown_out_and_not_let_in_again(nursery: trio.Nursery) -> None:
    victim = await Peer(1).start(nursery)
    async with stranger(victim) as attacker:
        stream = await attacker.open(MESHSUB)
        (connection,) = attacker.host.get_network().get_connections()
        for number in range(3):
            bad = attacker.message(*encode_batch([record(number)]))
            bad.signature = bytes(64)
            await stream.write(rpc(bad))
        with trio.fail_after(PATIENCE):
            await connection.muxed_conn.event_closed.wait()
            await victim.swarm._links.wait_for(lambda up: not up)
    async with stranger(victim) as attacker:
        with contextlib.suppress(Exception):  # to be kept out shows in many ways
            await attacker.open(MESHSUB)
        assert not victim.connected()
    async with stranger(victim, seed=67) as another:
        await another.open(MESHSUB)
        assert victim.connected() == {str(another.host.get_id())}
    assert not victim.door.held
    assert victim.swarm.counters.bans == 1


async def test_a_peer_whose_clock_is_ahead_is_not_blamed(nursery: trio.Nursery) -> None:
    victim = await Peer(1).start(nursery)
    async with stranger(victim) as guest:
        stream = await guest.open(MESHSUB)
        for number in range(20):
            ahead = record(number, created=now_ms() + 2 * MAX_CLOCK_SKEW_MS)
            await stream.write(rpc(guest.message(*encode_batch([ahead]))))
        good = record(99)
        await stream.write(rpc(guest.message(*encode_batch([good]))))
        await victim.door.until_holds([good])
        assert victim.swarm.peers()[0].score == 0
    assert victim.swarm.counters.rejected == 20
    assert victim.swarm.counters.offences == 0
