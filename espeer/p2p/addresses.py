"""Addresses that espeer listens on and dials: multiaddrs of TCP over IP or a DNS name (pure)."""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final

from multiaddr import Multiaddr  # type: ignore[import-untyped] # ships no types

from espeer.errors import BadAddress

MAX_ADDRESS: Final = 256
"""The most characters an address from a peer may have."""

FIND_RELAYS: Final = "auto"
"""Given for a relay's address: find some."""

_IP: Final = ("ip4", "ip6")
_DIALLED: Final = (*_IP, "dns", "dns4", "dns6", "dnsaddr")
_CIRCUIT: Final = "/p2p-circuit"
_WAYS: Final = ((), ("p2p-circuit", "p2p"))
"""What may come behind the first peer: nothing, or one more that it relays to."""
_ANYWHERE: Final = {"ip4": "0.0.0.0", "ip6": "::"}  # noqa: S104 - told apart, not bound


class Reach(IntEnum):
    """From where an address can be reached."""

    MACHINE = 0
    LINK = 1
    SITE = 2
    ANYWHERE = 3


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """Where a peer may be reached.

    :ivar peer_id: who must answer there.
    :ivar transport: the multiaddr without the ``/p2p/`` part; through a relay, the relay's and ``/p2p-circuit``.
    """

    peer_id: str
    transport: str

    def __str__(self) -> str:
        """The whole multiaddr."""
        return f"{self.transport}/p2p/{self.peer_id}"

    @property
    def reach(self) -> Reach:
        """From where it, or the relay that it goes through, can be reached."""
        return reach_of(self.transport.split("/")[2])

    @property
    def relay(self) -> "PeerAddress | None":
        """The relay that the address goes through, if it does."""
        if not self.transport.endswith(_CIRCUIT):
            return None
        transport, _, peer_id = self.transport.removesuffix(_CIRCUIT).rpartition("/p2p/")
        return PeerAddress(peer_id, transport)

    def through(self, peer_id: str) -> "PeerAddress":
        """The address of a peer that is reached through this one as its relay."""
        return PeerAddress(peer_id, f"{self}{_CIRCUIT}")


def parse_listen(text: str) -> Multiaddr:
    """An address to listen on: ``/ip4|ip6/HOST/tcp/PORT``.

    :raises BadAddress: it is something else.
    """
    address = _parse(text)
    if address is None or _protocols(address) not in {(ip, "tcp") for ip in _IP}:
        raise BadAddress(f"cannot listen on {text!r}: give an address such as /ip4/0.0.0.0/tcp/4001")
    return address


@lru_cache(maxsize=4096)  # greetings say the same again and again, and to read one takes 70 microseconds
def parse_peer(text: str) -> PeerAddress:
    """An address to dial: ``/ip4|ip6|dns|dns4|dns6|dnsaddr/HOST/tcp/PORT/p2p/PEERID``.

    A peer behind a relay has the relay's address, followed by ``/p2p-circuit/p2p/PEERID``.

    :raises BadAddress: it is something else.
    """
    address = _parse(text)
    protocols = _protocols(address) if address is not None else ()
    if address is None or protocols[:3] not in {(host, "tcp", "p2p") for host in _DIALLED} or protocols[3:] not in _WAYS:
        raise BadAddress(f"cannot dial {text!r}: give an address such as /ip4/192.0.2.1/tcp/4001/p2p/PEERID")
    (_, host), (_, port), *ids = address.items()
    if port == "0":
        raise BadAddress(f"cannot dial {text!r}: port 0 stands for any port; give the one the peer listens on")
    first = PeerAddress(str(ids[0][1]), f"/{protocols[0]}/{host}/tcp/{port}")
    return first.through(str(ids[-1][1])) if protocols[3:] else first


def parse_relay(text: str) -> PeerAddress:
    """An address of a relay: one to dial that does not go through a relay itself.

    :raises BadAddress: it is something else.
    """
    address = parse_peer(text)
    if address.relay is not None:
        raise BadAddress(f"cannot use {text!r} as a relay: give the relay's own address, which ends with its peer id")
    return address


def parse_announced(text: str) -> Multiaddr:
    """An address at which peers reach us, as a router or a name server makes it: ``/ip4|ip6|dns.../HOST/tcp/PORT``.

    :raises BadAddress: it is something else, or one that nobody could dial.
    """
    address = _parse(text)
    if address is None or _protocols(address) not in {(host, "tcp") for host in _DIALLED}:
        raise BadAddress(f"cannot announce {text!r}: give an address such as /dns4/node.example.org/tcp/4001")
    (protocol, host), (_, port) = address.items()
    if port == "0" or host == _ANYWHERE.get(protocol.name):
        raise BadAddress(f"cannot announce {text!r}: give the host and the port that others dial")
    return address


def concrete(address: str, hosts: Mapping[str, Sequence[str]]) -> list[str]:
    """An address of ours as others may dial it: one for each of our hosts if we listen on all interfaces.

    :param hosts: our own IP addresses, by ``ip4`` and ``ip6``.
    """
    protocol, host, *rest = address.split("/")[1:]
    if host != _ANYWHERE.get(protocol):
        return [address]
    return ["/".join(["", protocol, ours, *rest]) for ours in hosts.get(protocol, ())] or [address]


def parse_peer_id(text: str) -> str:
    """A peer id, in its usual form (base58).

    :raises BadAddress: it is something else.
    """
    address = _parse(f"/p2p/{text}") if "/" not in text else None
    if address is None:
        raise BadAddress(f"{text!r} is not a peer id; `espeer id` prints a node's own, such as 12D3KooW...")
    ((_, peer_id),) = address.items()
    return str(peer_id)


@lru_cache(maxsize=4096)
def reach_of(host: str | None) -> Reach:
    """From where an IP address can be reached; a name can from anywhere, and who comes through a relay may be anywhere."""
    try:
        address = ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        return Reach.ANYWHERE
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback or address.is_unspecified or address.is_multicast:
        return Reach.MACHINE
    if address.is_link_local:
        return Reach.LINK
    return Reach.ANYWHERE if address.is_global else Reach.SITE


def usable(texts: Iterable[str]) -> list[PeerAddress]:
    """Those of a peer's addresses that we can dial; others may mean something to a newer espeer."""
    found = []
    for text in texts:
        try:
            found.append(parse_peer(text))
        except BadAddress:
            continue
    return found


def seen_from_outside(address: PeerAddress, remote_host: str | None) -> PeerAddress | None:
    """``address`` as its owner tells it, with the host filled in if it listens on all interfaces.

    :param remote_host: the IP address its owner's connection comes from.
    :return: None if the host is not known.
    """
    protocol, host, _, port, *_ = address.transport.split("/")[1:]
    if address.relay is not None or host != _ANYWHERE.get(protocol):
        return address
    if remote_host is None:
        return None
    seen = "ip6" if ":" in remote_host else "ip4"
    return PeerAddress(address.peer_id, f"/{seen}/{remote_host}/tcp/{port}")


def _parse(text: str) -> Multiaddr | None:
    try:
        address = Multiaddr(text)
        _protocols(address)
    except Exception:  # noqa: BLE001 - some faults show only when it is taken apart, and in errors of many trees
        return None
    # multiaddr passes over white space, missing slashes and needless ones; others of libp2p do not
    return address if text.split() == [text] and text.count("/") == str(address).count("/") else None


def _protocols(address: Multiaddr) -> tuple[str, ...]:
    return tuple(protocol.name for protocol in address.protocols())
