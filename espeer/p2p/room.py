"""Who is spoken with when more want to than may, and who has to end for it (pure).

A conversation is kept going by a frame now and then, so a few peers could hold all places for as long as conversations may
last. So who has been spoken with for long has to go for who has not. Times are seconds of any clock that only goes forward.
"""

from collections import Counter
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from espeer.p2p.limits import Buckets

_Guest = TypeVar("_Guest", bound=Hashable)

GRACE: Final = 2.0
"""So many seconds nobody has to go; most conversations end sooner."""
SHARE: Final = 0.1
SHARE_AT_ONCE: Final = 60.0
"""Seconds a second that a peer may be spoken with before others of less are preferred to it."""


class Room(Generic[_Guest]):
    """The places for conversations, and how long each peer had one of late.

    :param most: how many there are.
    :param most_per_peer: how many of these one peer may have.
    """

    def __init__(self, *, most: int, most_per_peer: int) -> None:
        self._most = most
        self._most_per_peer = most_per_peer
        self._guests: dict[_Guest, tuple[str, float]] = {}
        self._shares = Buckets[str](SHARE, SHARE_AT_ONCE)

    def __len__(self) -> int:
        """How many places are taken."""
        return len(self._guests)

    def enter(self, guest: _Guest, peer_id: str, now: float) -> list[_Guest] | None:
        """Give a peer a place; return who has to go for it, or None if there is none for it."""
        if Counter(peer for peer, _ in self._guests.values())[peer_id] >= self._most_per_peer:
            return None
        going: list[_Guest] = []
        if len(self) >= self._most:
            worst = min(self._guests, key=lambda other: self._left(self._guests[other][0], now))
            peer, since = self._guests[worst]
            if now - since < GRACE or self._left(peer, now) >= self._left(peer_id, now):
                return None
            self.leave(worst, now)
            going.append(worst)
        self._guests[guest] = (peer_id, now)
        return going

    def leave(self, guest: _Guest, now: float) -> None:
        """Note that a place is free; its guest may have had to go before."""
        if guest in self._guests:
            peer_id, since = self._guests.pop(guest)
            self._shares.owe(peer_id, now, now - since)

    def _left(self, peer_id: str, now: float) -> float:
        """What is left of a peer's share."""
        return self._shares.level(peer_id, now) - sum(now - since for peer, since in self._guests.values() if peer == peer_id)
