import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from replicas import PATIENCE, Peer, identity
from stranger import stranger, until_reset

from espeer.errors import ProtocolError
from espeer.p2p.addresses import parse_peer
from espeer.p2p.hello import MAX_ADDRESSES, Hello, believed, decode, encode
from espeer.p2p.wire import pack

HELLO = "/espeer/1/test/hello/1"
addresses = st.lists(st.text(max_size=64), max_size=MAX_ADDRESSES).map(tuple)


@given(st.builds(Hello, addresses, addresses))
def test_a_greeting_round_trips(hello: Hello) -> None:
    assert decode(encode(hello)) == hello


def test_only_so_many_addresses_are_told() -> None:
    many = tuple(f"/ip4/192.0.2.1/tcp/{port}" for port in range(1, 100))
    assert decode(encode(Hello(many, many))) == Hello(many[:MAX_ADDRESSES], many[:MAX_ADDRESSES])


@pytest.mark.parametrize(
    "message",
    [
        ["hello"],
        ["hello", []],
        ["hello", [], [], []],
        ["hello", "x", []],
        ["hello", [b"x"], []],
        ["hello", ["x"] * (MAX_ADDRESSES + 1), []],
        ["hello", [], ["x" * 257]],
        ["good day", [], []],
        {"hello": 1},
        [],
        1,
    ],
)
def test_what_is_no_greeting_is_refused(message: object) -> None:
    with pytest.raises(ProtocolError):
        decode(pack(message))


@given(st.binary(max_size=100))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(data)


SELF, OTHER = identity(1).peer_id, identity(2).peer_id


def told(remote: str | None, *hosts: str, listen: bool = False) -> list[str]:
    """The hosts that are believed of those a peer tells that comes from ``remote``."""
    addresses = [f"/{'ip6' if ':' in host else 'ip4'}/{host}/tcp/1/p2p/{SELF if listen else OTHER}" for host in hosts]
    hello = Hello(tuple(addresses)) if listen else Hello((), tuple(addresses))
    return [address.transport.split("/")[2] for address in believed(hello, SELF, remote)]


@pytest.mark.parametrize("listen", [True, False])
def test_a_peer_cannot_have_us_look_around_at_home(listen: bool) -> None:
    hosts = ("127.0.0.1", "::1", "169.254.1.1", "fe80::1", "10.0.0.1", "192.168.1.1", "fd00::1", "9.9.9.9", "2620:fe::9")
    assert told("8.8.8.8", *hosts, listen=listen) == ["9.9.9.9", "2620:fe::9"]
    assert told(None, *hosts, listen=listen) == ["9.9.9.9", "2620:fe::9"]
    assert told("192.168.1.7", *hosts, listen=listen) == ["10.0.0.1", "192.168.1.1", "fd00::1", "9.9.9.9", "2620:fe::9"]
    assert told("169.254.1.7", *hosts, listen=listen) == list(hosts[2:])
    assert told("127.0.0.1", *hosts, listen=listen) == list(hosts)


def test_who_listens_everywhere_is_reached_where_it_comes_from() -> None:
    assert told("8.8.8.8", "0.0.0.0", listen=True) == ["8.8.8.8"]
    assert told("8.8.8.8", "0.0.0.0", "::ffff:127.0.0.1", "224.0.0.1") == []


def test_a_relay_that_we_know_may_be_at_home() -> None:
    through = f"/ip4/192.168.1.1/tcp/1/p2p/{OTHER}/p2p-circuit/p2p/{SELF}"
    assert believed(Hello((through,)), SELF, None) == []
    known = parse_peer(through).relay
    assert list(map(str, believed(Hello((through,)), SELF, None, lambda address: address == known))) == [through]


def test_a_peer_speaks_for_itself_in_one_part_and_for_others_in_the_other() -> None:
    own, other = f"/ip4/9.9.9.9/tcp/1/p2p/{SELF}", f"/ip4/9.9.9.9/tcp/2/p2p/{OTHER}"
    assert list(map(str, believed(Hello((own, other), (own, other)), SELF, "8.8.8.8"))) == [own, other]
    assert believed(Hello((other,), (own,)), SELF, "8.8.8.8") == []


async def test_who_is_greeted_hears_of_the_others(nursery: trio.Nursery) -> None:
    hub = await Peer(1).start(nursery)
    a = await Peer(2, hub.address).start(nursery)
    await a.until_connected(hub)
    b = await Peer(3, hub.address).start(nursery)
    await b.until_connected(a)
    (view,) = [view for view in b.swarm.peers() if view.peer_id == a.identity.peer_id]
    assert view.addresses == (a.address,)


async def test_a_peer_speaks_only_for_itself(nursery: trio.Nursery) -> None:
    victim = await Peer(1).start(nursery)
    other = identity(50).peer_id
    async with stranger(victim) as liar:
        stream = await liar.open(HELLO)
        said = encode(Hello((f"/ip4/127.0.0.1/tcp/1/p2p/{other}",)))
        await stream.write(len(said).to_bytes(4, "big") + said)
        with trio.fail_after(PATIENCE):
            assert await stream.read(4)  # it greets back
        assert victim.swarm._dialer.addresses(other) == []
        await until_reset(stream)
