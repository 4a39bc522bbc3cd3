"""What nodes on one LAN tell each other of where they are: DNS messages of libp2p's mDNS discovery (pure).

https://github.com/libp2p/specs/blob/master/discovery/mdns.md. A question for ``_p2p._udp.local`` is answered with a name, and
that name's TXT record holds ``dnsaddr=MULTIADDR`` strings. Ours holds ``espeer=NETWORK`` besides, which other libp2p nodes
ignore: so that nobody dials the nodes of another network.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from zeroconf import (  # type: ignore[attr-defined] # public, but not marked as such
    DNSAddress,
    DNSIncoming,
    DNSOutgoing,
    DNSPointer,
    DNSQuestion,
    DNSService,
    DNSText,
)

from espeer.p2p.addresses import PeerAddress, seen_from_outside, usable
from espeer.p2p.psk import fingerprint

SERVICE: Final = "_p2p._udp.local."
MAX_DATAGRAM: Final = 9000
"""The most bytes a message may have (RFC 6762, 17)."""
MAX_RECORDS: Final = 64
"""The most questions and records that a message is read for."""
MAX_ADDRESSES: Final = 8
"""The most addresses that we tell, or take from one message."""
TTL: Final = 120

_PTR, _TXT, _SRV, _A = 12, 16, 33, 1
_IN, _UNIQUE = 1, 0x8001
_QUERY, _ANSWER = 0x0000, 0x8400
_PORT: Final = 4001  # as go-libp2p: there must be one, and nobody reads it
_MAX_STRING: Final = 255
_HEADER: Final = 12


@dataclass(frozen=True, slots=True)
class Heard:
    """What a message says to us.

    :ivar asks: it asks who is there.
    :ivar addresses: where nodes of our network are, each at the host that the message came from.
    """

    asks: bool
    addresses: tuple[PeerAddress, ...]


def service_of(psk: bytes | None) -> str:
    """The service to ask for: a private network, whose key ``psk`` is, has one of its own."""
    return SERVICE if psk is None else f"_p2p-{fingerprint(psk).hex()}._udp.local."


def question(service: str = SERVICE) -> bytes:
    """Ask who is there."""
    message = DNSOutgoing(_QUERY)
    message.add_question(DNSQuestion(service, _PTR, _IN))
    return message.packets()[0]


def answer(name: str, network: str, host: str, addresses: Sequence[PeerAddress], service: str = SERVICE) -> bytes:
    """Say where we are.

    :param name: what we are called on the LAN: 32 to 63 letters and digits, by chance.
    :param host: our IPv4 address there.
    """
    instance, target = f"{name}.{service}", f"{name}.local."
    strings = [f"espeer={network}", *(f"dnsaddr={address}" for address in addresses[:MAX_ADDRESSES])]
    encoded = [string.encode() for string in strings]
    text = b"".join(bytes([len(string)]) + string for string in encoded if len(string) <= _MAX_STRING)
    message = DNSOutgoing(_ANSWER)
    message.add_answer_at_time(DNSPointer(service, _PTR, _IN, TTL, instance), 0)
    message.add_additional_answer(DNSText(instance, _TXT, _UNIQUE, TTL, text))
    # others look for a service with a host, as DNS-SD has it
    message.add_additional_answer(DNSService(instance, _SRV, _UNIQUE, TTL, 0, 0, _PORT, target))
    message.add_additional_answer(DNSAddress(target, _A, _UNIQUE, TTL, ipaddress.IPv4Address(host).packed))
    return message.packets()[0]


def hear(data: bytes, source: str, network: str, service: str = SERVICE) -> Heard:
    """Understand a message as far as it concerns us.

    :param source: the IP address that it came from. A node may only say that it is there itself: otherwise one message could
        have a whole LAN dial any address.
    """
    nothing = Heard(asks=False, addresses=())
    counts = [int.from_bytes(data[at : at + 2], "big") for at in range(4, _HEADER, 2)]
    if not _HEADER < len(data) <= MAX_DATAGRAM or sum(counts) > MAX_RECORDS:
        return nothing
    message = DNSIncoming(data)
    if not message.valid:
        return nothing
    if message.is_query():
        return Heard(any(asked.name == service and asked.type == _PTR for asked in message.questions), ())
    addresses: list[PeerAddress] = []
    for record in message.answers():
        if isinstance(record, DNSText) and record.name.endswith(f".{service}"):
            strings = _strings(record.text)
            if f"espeer={network}" in strings:
                told = (string.removeprefix("dnsaddr=") for string in strings if string.startswith("dnsaddr="))
                addresses += at_host(usable(islice(told, MAX_ADDRESSES)), source)
    return Heard(asks=False, addresses=tuple(addresses[:MAX_ADDRESSES]))


def at_host(addresses: Iterable[PeerAddress], host: str) -> list[PeerAddress]:
    """Those of the addresses that are at an IP address itself; all interfaces are there, too."""
    seen = (seen_from_outside(address, host) for address in addresses if address.relay is None)
    return [address for address in seen if address is not None and address.transport.split("/")[2] == host]


def _strings(text: bytes) -> list[str]:
    strings, at = [], 0
    while at < len(text):
        end = at + 1 + text[at]
        strings.append(text[at + 1 : end].decode(errors="replace"))
        at = end
    return strings
