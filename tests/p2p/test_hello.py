import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from replicas import PATIENCE, Peer, identity
from stranger import stranger, until_reset

from espeer.errors import ProtocolError
from espeer.p2p.hello import MAX_ADDRESSES, Hello, decode, encode
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
