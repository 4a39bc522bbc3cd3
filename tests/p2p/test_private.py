import os

import pytest
import trio
from replicas import Peer, records

from espeer.errors import NetworkError
from espeer.p2p import reception
from espeer.p2p.addresses import parse_peer
from espeer.p2p.psk import xsalsa20

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


async def test_nodes_with_the_key_gossip_and_sync(nursery: trio.Nursery) -> None:
    held = records(100)
    a = await Peer(1, held=held, psk=KEY).start(nursery)
    b = await Peer(2, a.address, psk=KEY).start(nursery)
    c = await Peer(3, b.address, psk=KEY).start(nursery)
    await c.door.until_holds(held)
    await a.until_meshed(b)
    await b.until_meshed(c)
    new = records(3, start=1000)
    a.swarm.publish(new)
    await c.door.until_holds(new)
    assert c.door.via[new[0].id] == "gossip"


async def test_another_key_is_seen_at_once(nursery: trio.Nursery) -> None:
    held = records(1)
    a = await Peer(1, held=held, psk=KEY).start(nursery)
    stranger = await Peer(2, psk=OTHER).start(nursery)
    before = trio.current_time()
    for _ in range(3):
        with pytest.raises(NetworkError):
            await stranger.swarm._node.dial(parse_peer(a.address))
    assert trio.current_time() - before < 2
    assert a.connected() == stranger.connected() == set()
    b = await Peer(3, a.address, psk=KEY).start(nursery)
    await b.door.until_holds(held)


@pytest.mark.parametrize(("ours", "theirs"), [(KEY, None), (None, KEY)], ids=["stranger", "private"])
async def test_who_has_no_key_stays_outside(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, ours: bytes | None, theirs: bytes | None
) -> None:
    a, b = await Peer(1, psk=ours).start(nursery), await Peer(2, psk=theirs).start(nursery)
    monkeypatch.setattr(reception, "HANDSHAKE_SECONDS", 0.5)
    with pytest.raises(NetworkError):
        await b.swarm._node.dial(parse_peer(a.address))
    assert a.connected() == b.connected() == set()


async def test_what_comes_over_the_wire_is_noise(nursery: trio.Nursery) -> None:
    a = await Peer(1, psk=KEY).start(nursery)
    stream = await trio.open_tcp_stream("127.0.0.1", int(a.address.split("/")[4]))
    async with stream:
        nonce = os.urandom(24)
        cipher = xsalsa20(KEY, nonce)
        await stream.send_all(nonce + cipher.encrypt(b"\x13/multistream/1.0.0\n"))
        answer = b""
        with trio.fail_after(5):
            while len(answer) < 24 + 20:
                answer += await stream.receive_some()
        assert b"multistream" not in answer
        assert xsalsa20(KEY, answer[:24]).decrypt(answer[24:]) == b"\x13/multistream/1.0.0\n"
