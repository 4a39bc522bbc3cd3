import socket

import pytest
import trio
import trio.testing
from replicas import Peer, identity

from espeer.errors import NetworkError
from espeer.p2p.addresses import PeerAddress, parse_peer
from espeer.p2p.names import MAX_FOUND, looked_up

PEER = identity(1).peer_id
INET, INET6 = socket.AF_INET, socket.AF_INET6


class Resolver:
    """Knows what it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *found: tuple[socket.AddressFamily, str]) -> None:
        self.found = found
        self.asked: list[tuple[object, ...]] = []
        monkeypatch.setattr(trio.socket, "getaddrinfo", self.look_up)

    async def look_up(self, *asked: object) -> list[tuple[object, ...]]:
        self.asked.append(asked)
        await trio.lowlevel.checkpoint()
        if not self.found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(family, socket.SOCK_STREAM, 0, "", (where, 0)) for family, where in self.found]


def named(protocol: str = "dns", port: int = 4001) -> PeerAddress:
    return parse_peer(f"/{protocol}/pump.local/tcp/{port}/p2p/{PEER}")


@pytest.mark.parametrize(("protocol", "family"), [("dns", 0), ("dns4", INET), ("dns6", INET6)])
async def test_a_name_stands_for_its_addresses(protocol: str, family: int, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(monkeypatch, (INET6, "2001:db8::1"), (INET, "192.0.2.1"), (INET, "192.0.2.1"))
    found = await looked_up(named(protocol))
    assert list(map(str, found)) == [f"/ip6/2001:db8::1/tcp/4001/p2p/{PEER}", f"/ip4/192.0.2.1/tcp/4001/p2p/{PEER}"]
    assert resolver.asked == [("pump.local", None, family, socket.SOCK_STREAM)]


async def test_only_so_many_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    Resolver(monkeypatch, *[(INET, f"192.0.2.{number}") for number in range(100)])
    assert len(await looked_up(named())) == MAX_FOUND


Found = tuple[tuple[socket.AddressFamily, str], ...]


@pytest.mark.parametrize("found", [(), ((socket.AF_UNIX, "x"),)])
async def test_a_name_without_an_address_is_told(found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    Resolver(monkeypatch, *found)
    with pytest.raises(NetworkError, match=r"address is known for the name pump\.local"):
        await looked_up(named())


@pytest.mark.parametrize(
    "text",
    [
        f"/ip4/192.0.2.1/tcp/1/p2p/{PEER}",
        f"/dnsaddr/example.org/tcp/1/p2p/{PEER}",
        f"/dns4/example.org/tcp/1/p2p/{PEER}/p2p-circuit/p2p/{identity(2).peer_id}",
    ],
)
async def test_others_are_left_as_they_are(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(monkeypatch)
    assert await looked_up(parse_peer(text)) == [parse_peer(text)]
    assert resolver.asked == []


async def test_the_address_that_answers_is_taken(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    a = await Peer(1).start(nursery)
    port = int(a.address.split("/")[4])
    Resolver(monkeypatch, (INET, "127.0.0.7"), (INET, "127.0.0.1"))  # nobody listens on the first
    b = await Peer(2, str(named("dns4", port))).start(nursery)
    await b.until_connected(a)
