"""Whose connection waits for its handshake to end, and who has to go when more come (pure).

A handshake takes a few round trips; a connection that says nothing would hold its place for seconds. So nobody who comes is
turned away: the one that has waited longest goes, first of the same source, else of the source that holds most places. An
honest peer is done long before it is the oldest, whatever the number of idle connections.
"""

import ipaddress
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

_Guest = TypeVar("_Guest", bound=Hashable)

UNKNOWN: Final = "unknown"
"""The source of connections that have no IP address."""
_SITE_BITS: Final = 64


def source_of(host: str | None) -> str:
    """What counts as one source: an IPv4 address, or the /64 that an IPv6 address is of."""
    try:
        address = ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        return UNKNOWN
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if address.is_loopback:
        return str(address)
    return str(ipaddress.IPv6Network((address, _SITE_BITS), strict=False))


def is_loopback(source: str) -> bool:
    """Whether a source is this machine."""
    return source == "::1" or source.startswith("127.")


class Lobby(Generic[_Guest]):
    """The guests that wait, by source and in the order they came.

    :param most: how many may wait at a time.
    :param most_per_source: how many of these of one source.
    """

    def __init__(self, *, most: int, most_per_source: int) -> None:
        self._most = most
        self._most_per_source = most_per_source
        self._waiting: dict[str, dict[_Guest, None]] = {}

    def __len__(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))

    def enter(self, guest: _Guest, source: str) -> _Guest | None:
        """Let a guest wait; the return value is who has to go for it."""
        leaving = None
        if len(self._waiting.get(source, ())) >= self._most_per_source:
            leaving = self._oldest(source)
        elif len(self) >= self._most:
            leaving = self._oldest(max(self._waiting, key=lambda source: len(self._waiting[source])))
        self._waiting.setdefault(source, {})[guest] = None
        return leaving

    def leave(self, guest: _Guest, source: str) -> None:
        """Note that a guest waits no more; it may have had to go before."""
        waiting = self._waiting.get(source, {})
        waiting.pop(guest, None)
        if not waiting:
            self._waiting.pop(source, None)

    def _oldest(self, source: str) -> _Guest:
        guest = next(iter(self._waiting[source]))
        self.leave(guest, source)
        return guest
