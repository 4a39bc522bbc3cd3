"""Names in addresses: looked up as every program of this machine does, so a hosts file and ``.local`` names count, too."""

import socket
from typing import Final

import trio

from espeer.errors import NetworkError
from espeer.p2p.addresses import PeerAddress

MAX_FOUND: Final = 8
"""The most addresses of a name that are tried."""

_FAMILIES: Final = {"dns": socket.AF_UNSPEC, "dns4": socket.AF_INET, "dns6": socket.AF_INET6}


async def looked_up(address: PeerAddress) -> list[PeerAddress]:
    """The addresses that a peer's address stands for: of its host's name, in the resolver's order; else it alone.

    An address through a relay is left as it is, for the relay is dialled by itself; so is ``dnsaddr``, which libp2p looks up.

    :raises NetworkError: the name has no address.
    """
    protocol, host, *rest = address.transport.split("/")[1:]
    if protocol not in _FAMILIES or address.relay is not None:
        return [address]
    try:
        found = await trio.socket.getaddrinfo(host, None, _FAMILIES[protocol], socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NetworkError(f"cannot reach {address}: no address is known for the name {host}") from error
    tail = "/".join(rest)
    names = {socket.AF_INET: "ip4", socket.AF_INET6: "ip6"}
    transports = [f"/{names[family]}/{where[0]}/{tail}" for family, _, _, _, where in found if family in names]
    if not transports:
        raise NetworkError(f"cannot reach {address}: no IP address is known for the name {host}")
    return [PeerAddress(address.peer_id, transport) for transport in dict.fromkeys(transports)][:MAX_FOUND]
