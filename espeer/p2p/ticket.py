"""Invite tickets: one string with all that a node needs to join a network (pure).

A ticket is ``espeer1`` and base32 (RFC 4648, lower case, without padding) of a payload and the first four bytes of the
SHA-256 of ``espeer1`` and the payload. The payload is msgpack in its shortest form: an array of the network's name, its key
(32 bytes, or none for an open network), multiaddrs of nodes to join through, and the topic types of the node that invites.
A ticket with a key is a secret.
"""

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack

from espeer.config import KEY_SIZE, MAX_TYPES
from espeer.errors import BadAddress, ConfigError
from espeer.p2p.addresses import MAX_ADDRESS, parse_peer
from espeer.records import is_type

MAX_TICKET: Final = 8192
"""The most characters a ticket may have."""
MAX_ADDRESSES: Final = 8

_FAMILY: Final = "espeer"
_PREFIX: Final = "espeer1"
_CHECKSUM: Final = 4
_GROUP: Final = 8


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket says.

    :ivar network: name of the network.
    :ivar key: the key of a private network, or None. Secret.
    :ivar addresses: multiaddrs, with ``/p2p/PEERID``, of nodes to join through.
    :ivar types: the topic types of the node that invites.
    """

    network: str
    key: bytes | None = field(default=None, repr=False)
    addresses: tuple[str, ...] = ()
    types: tuple[str, ...] = ()


def encode(ticket: Ticket) -> str:
    """The ticket as text."""
    payload: bytes = msgpack.packb([ticket.network, ticket.key or b"", list(ticket.addresses), list(ticket.types)])
    text = base64.b32encode(payload + _checksum(payload)).decode("ascii")
    return _PREFIX + text.rstrip("=").lower()


def decode(text: str) -> Ticket:
    """Read a ticket; capitals and white space in it do not matter.

    :raises ConfigError: it is none, or was damaged on its way. The message does not repeat it.
    """
    if len(text) > MAX_TICKET:
        raise ConfigError(f"a ticket has at most {MAX_TICKET} characters; give the line that `espeer invite` prints")
    text = "".join(text.split()).lower()
    if not text.startswith(_PREFIX):
        if text.startswith(_FAMILY):
            raise ConfigError("the ticket was made by another version of espeer; use the same version on both sides")
        raise ConfigError(f"this is not a ticket: one begins with {_PREFIX}; give the line that `espeer invite` prints")
    ticket = _read(text.removeprefix(_PREFIX))
    if ticket is None or encode(ticket) != text:
        raise ConfigError("the ticket is incomplete or was changed on its way; copy it again")
    return ticket


def _read(text: str) -> Ticket | None:
    """What the text says if it is a ticket; whether it is written in the one right way is not looked at."""
    try:
        data = base64.b32decode((text + "=" * (-len(text) % _GROUP)).upper())
        payload = data[:-_CHECKSUM]
        if data[-_CHECKSUM:] != _checksum(payload):
            return None
        value = msgpack.unpackb(payload, max_str_len=MAX_ADDRESS, max_array_len=MAX_TYPES, max_map_len=0, max_ext_len=0)
    except (ValueError, msgpack.UnpackException):
        return None
    match value:
        case [str(network), bytes(key), list(addresses), list(types)]:
            good = is_type(network) and len(key) in {0, KEY_SIZE} and _are_addresses(addresses) and _are_types(types)
            return Ticket(network, key or None, tuple(addresses), tuple(types)) if good else None
        case _:
            return None


def _are_addresses(values: list[Any]) -> bool:
    try:
        return len(values) <= MAX_ADDRESSES and all(type(value) is str and parse_peer(value) for value in values)
    except BadAddress:
        return False


def _are_types(values: list[Any]) -> bool:
    return len(values) <= MAX_TYPES and all(type(value) is str and is_type(value) for value in values)


def _checksum(payload: bytes) -> bytes:
    return hashlib.sha256(_PREFIX.encode() + payload).digest()[:_CHECKSUM]
