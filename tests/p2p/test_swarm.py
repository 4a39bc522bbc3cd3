import socket
from pathlib import Path

import pytest
import trio
import trio.testing
from replicas import PATIENCE, Peer, identity, records, until

from espeer.errors import AddressInUse, BadAddress, StoreFull
from espeer.p2p.addressbook import load
from espeer.p2p.addresses import parse_peer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def fail() -> None:
    raise RuntimeError("a fault in libp2p")


async def test_a_published_record_goes_down_a_line(nursery: trio.Nursery) -> None:
    a = await Peer(1).start(nursery)
    b = await Peer(2, a.address).start(nursery)
    c = await Peer(3, b.address).start(nursery)
    await a.until_meshed(b)
    await b.until_meshed(c)
    new = records(3)
    a.swarm.publish(new)
    await c.door.until_holds(new)
    assert c.door.via[new[0].id] == "gossip"
    assert c.swarm.counters.delivered == 3
    assert a.swarm.counters.published == 3


async def test_a_late_joiner_gets_everything_by_sync(nursery: trio.Nursery) -> None:
    held = records(300) + records(5, kind="networking")
    a = await Peer(1, held=held).start(nursery)
    b = await Peer(2, a.address).start(nursery)
    await b.door.until_holds(held)
    assert b.swarm.counters.synced_in == len(held)
    assert a.swarm.counters.synced_out == len(held)


async def test_sync_goes_both_ways_and_only_for_types_held_by_both(nursery: trio.Nursery) -> None:
    ours, theirs, other = records(5), records(5, start=5), records(3, kind="networking")
    a = await Peer(1, held=ours + other).start(nursery)
    b = await Peer(2, a.address, held=theirs, types=["biology"]).start(nursery)
    await a.door.until_holds(theirs)
    await b.door.until_holds(ours)
    assert not any(signed.id in b.door.held for signed in other)


async def test_a_burst_arrives_whole(nursery: trio.Nursery) -> None:
    a = await Peer(1, repair_interval=1).start(nursery)
    b = await Peer(2, a.address, repair_interval=1).start(nursery)
    await a.until_meshed(b)
    burst = records(400)
    await a.door.add(burst, via="own")
    a.swarm.publish(burst)
    await b.door.until_holds(burst)


async def test_what_gossip_missed_is_repaired(nursery: trio.Nursery) -> None:
    a = await Peer(1).start(nursery)
    b = await Peer(2, a.address, repair_interval=0.2).start(nursery)
    await b.until_connected(a)
    silent = records(3)
    await a.door.add(silent, via="own")
    await b.door.until_holds(silent)
    assert b.door.via[silent[0].id] == "sync"


async def test_peers_meet_through_a_bootstrap_peer_and_outlive_it(nursery: trio.Nursery) -> None:
    hub = await Peer(1).start(nursery)
    a = await Peer(2, hub.address, repair_interval=0.5).start(nursery)
    b = await Peer(3, hub.address, repair_interval=0.5).start(nursery)
    await a.until_connected(b, hub)
    await b.until_connected(a, hub)
    await hub.stop()
    await a.until_parted(hub)
    await b.until_parted(hub)
    assert a.connected() == {b.identity.peer_id}
    await a.until_meshed(b)
    new = records(2)
    a.swarm.publish(new)
    await b.door.until_holds(new)


async def test_the_network_is_found_again_when_all_bootstrap_peers_are_gone(nursery: trio.Nursery, tmp_path: Path) -> None:
    hub = await Peer(1).start(nursery)
    gone = hub.address
    listens = {seed: f"/ip4/127.0.0.1/tcp/{free_port()}" for seed in (2, 3)}

    def peer(seed: int) -> Peer:
        return Peer(seed, gone, listen=listens[seed], met_file=tmp_path / f"{seed}")

    a, b = [await peer(seed).start(nursery) for seed in (2, 3)]
    await a.until_connected(b, hub)
    await b.until_connected(a, hub)
    await a.until_met(b)
    await b.until_met(a)
    for each in (hub, a, b):
        await each.stop()
    assert (tmp_path / "2").stat().st_mode & 0o777 == 0o600
    a, b = [await peer(seed).start(nursery) for seed in (2, 3)]
    await a.until_connected(b)
    await b.until_connected(a)
    new = records(2)
    await a.until_meshed(b)
    a.swarm.publish(new)
    await b.door.until_holds(new)


async def test_a_damaged_file_of_peers_is_done_without(
    nursery: trio.Nursery, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "met").write_bytes(b"nonsense")
    a = await Peer(1).start(nursery)
    b = await Peer(2, a.address, met_file=tmp_path / "met").start(nursery)
    await b.until_met(a)
    await b.stop()
    assert "cannot read the peers met before" in caplog.text
    assert dict(load(tmp_path / "met").best())[a.identity.peer_id] == [parse_peer(a.address)]


async def test_what_is_announced_is_what_others_hear(nursery: trio.Nursery) -> None:
    announced = "/dns4/localhost/tcp/1"
    a = await Peer(1, announce=[announced]).start(nursery)
    assert a.swarm.addresses() == [f"{announced}/p2p/{a.identity.peer_id}"]
    (real,) = a.swarm._node.listens()
    b = await Peer(2, real).start(nursery)
    await a.until_connected(b)
    await until(lambda: b.swarm._dialer.addresses(a.identity.peer_id))
    assert list(map(str, b.swarm._dialer.addresses(a.identity.peer_id))) == a.swarm.addresses()


async def test_on_all_interfaces_usable_addresses_are_told(nursery: trio.Nursery) -> None:
    a = await Peer(1, listen="/ip4/0.0.0.0/tcp/0").start(nursery)
    assert a.swarm.addresses()
    assert not [address for address in a.swarm.addresses() if "0.0.0.0" in address]


async def test_a_node_comes_back_on_its_port(nursery: trio.Nursery) -> None:
    listen = f"/ip4/127.0.0.1/tcp/{free_port()}"
    a = await Peer(1, listen=listen).start(nursery)
    b = await Peer(2, a.address).start(nursery)
    await b.until_connected(a)
    await a.stop()
    await b.until_parted(a)
    held = records(3)
    again = await Peer(1, listen=listen, held=held).start(nursery)
    await b.door.until_holds(held)
    await again.until_meshed(b)
    new = records(3, start=10)
    again.swarm.publish(new)
    await b.door.until_holds(new)
    assert b.door.via[new[0].id] == "gossip"


@pytest.mark.parametrize("part", ["network", "pubsub", "gossipsub"])
async def test_a_failure_of_libp2p_is_survived(nursery: trio.Nursery, part: str, caplog: pytest.LogCaptureFixture) -> None:
    a = await Peer(1, listen=f"/ip4/127.0.0.1/tcp/{free_port()}").start(nursery)
    b = await Peer(2, a.address).start(nursery)
    await b.until_connected(a)
    getattr(a.swarm._node, part).manager.run_task(fail)
    await b.until_parted(a)
    await b.until_connected(a)
    await b.until_meshed(a)
    new = records(2)
    b.swarm.publish(new)
    await a.door.until_holds(new)
    assert [entry.levelname for entry in caplog.records if "starting it again" in entry.message] == ["ERROR"]


async def test_cancelling_ends_it_in_time(nursery: trio.Nursery) -> None:
    others = [await Peer(seed).start(nursery) for seed in range(1, 6)]
    last = await Peer(9, *(other.address for other in others)).start(nursery)
    await last.until_connected(*others)
    last.swarm.publish(records(64))
    before = trio.current_time()
    await last.stop()
    assert trio.current_time() - before < 2
    for other in others:
        await other.until_parted(last)
    assert last.swarm.addresses() == []
    assert last.swarm.peers() == []


async def test_a_dead_and_a_wrong_bootstrap_peer_do_not_keep_it_from_the_others(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    a = await Peer(1).start(nursery)
    wrong = a.address.replace(a.identity.peer_id, identity(9).peer_id)
    dead = f"/ip4/127.0.0.1/tcp/{free_port()}/p2p/{identity(8).peer_id}"
    b = await Peer(2, dead, wrong, a.address).start(nursery)
    await b.until_connected(a)
    await trio.testing.wait_all_tasks_blocked(0.1)
    assert b.connected() == {a.identity.peer_id}
    warnings = [vars(entry)["reason"] for entry in caplog.records if entry.levelname == "WARNING"]
    assert len(warnings) == 2
    assert all("\n" not in reason for reason in warnings)
    assert any(dead in reason and "refused" in reason for reason in warnings)


async def test_it_shows_its_peers(nursery: trio.Nursery) -> None:
    a = await Peer(1, held=records(1)).start(nursery)
    b = await Peer(2, a.address, types=["biology"]).start(nursery)
    await a.until_meshed(b)
    await b.until_meshed(a)
    await b.door.until_holds(list(a.door.held.values()))
    (view,) = b.swarm.peers()
    assert view.peer_id == a.identity.peer_id
    assert view.addresses == (a.address,)
    assert view.types == ("biology", "networking")
    assert view.mesh == ("biology",)
    assert a.address.endswith(f"/p2p/{a.identity.peer_id}")


async def test_a_full_disk_costs_no_connection(nursery: trio.Nursery) -> None:
    a = await Peer(1, held=records(3)).start(nursery)
    b = Peer(2, a.address, repair_interval=0.2)
    b.door.failure = StoreFull("no room left")
    await b.start(nursery)
    with trio.fail_after(PATIENCE):
        await b.door.refused.wait()
    assert b.connected() == {a.identity.peer_id}
    b.door.failure = None
    await b.door.until_holds(list(a.door.held.values()))


async def test_networks_do_not_mix(nursery: trio.Nursery) -> None:
    a = await Peer(1, held=records(2)).start(nursery)
    b = await Peer(2, a.address, network="other").start(nursery)
    await b.until_connected(a)
    a.swarm.publish(records(1, start=5))
    await trio.testing.wait_all_tasks_blocked(0.1)
    assert b.swarm.peers()[0].types == ()
    assert b.door.held == {}


@pytest.mark.parametrize(
    "listen", ["", "tcp://1", "/ip4/127.0.0.1/udp/1", "/ip4/127.0.0.300/tcp/1", "/dns4/localhost/tcp/1", "/ip4/127.0.0.1"]
)
def test_a_bad_listen_address_is_named(listen: str) -> None:
    with pytest.raises(BadAddress) as caught:
        Peer(1, listen=listen)
    assert repr(listen) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "bootstrap",
    [
        "",
        "/ip4/127.0.0.1/tcp/4001",
        f"/ip4/127.0.0.1/tcp/0/p2p/{identity(1).peer_id}",
        f"/ip4/127.0.0.1/udp/1/quic-v1/p2p/{identity(1).peer_id}",
        "/ip4/127.0.0.1/tcp/4001/p2p/nobody",
        f"/p2p/{identity(1).peer_id}",
    ],
)
def test_a_bad_bootstrap_address_is_named(bootstrap: str) -> None:
    with pytest.raises(BadAddress) as caught:
        Peer(1, bootstrap)
    assert repr(bootstrap) in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_an_address_in_use_is_named(nursery: trio.Nursery) -> None:
    a = await Peer(1).start(nursery)
    taken = a.address.split("/p2p/")[0]
    with trio.fail_after(PATIENCE), pytest.raises(AddressInUse, match="in use") as caught:
        await Peer(2, listen=taken).swarm.run()
    assert taken in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_an_address_of_another_machine_is_named() -> None:
    with trio.fail_after(PATIENCE), pytest.raises(AddressInUse, match="not one of this machine"):
        await Peer(1, listen="/ip4/192.0.2.1/tcp/0").swarm.run()
