"""Reputation: what each peer did wrong of late, and who is banned for how long (pure).

Every offence has a weight. A peer's score is the sum of its offences' weights, halved every :data:`HALF_LIFE` seconds; at
:data:`LIMIT` it is banned. A peer that comes back to offend again is banned for longer each time. What an honest peer can do
by mistake weighs nothing: its clock may be off, its espeer may be newer than ours.

Times are seconds of any clock that only goes forward. All tables are bounded: when one is full, what says least goes first.
"""

import math
from dataclasses import dataclass
from typing import Final

from espeer.errors import (
    BadSignature,
    BrokenPromise,
    EspeerError,
    Flooding,
    FrameTooLarge,
    FromTheFuture,
    ProtocolError,
    RecordError,
    SlowReader,
    UnknownVersion,
)

LIMIT: Final = 100.0
"""The score at which a peer is banned."""
HALF_LIFE: Final = 600.0
FIRST_BAN: Final = 60.0
LAST_BAN: Final = 24 * 3600.0
GROWTH: Final = 4.0
"""How much longer each further ban is."""
MEMORY: Final = 24 * 3600.0
"""How long after its last ban a peer counts as a repeater."""
MAX_PEERS: Final = 4096
_LONGEST_AFTER: Final = 100  # bans; more would not fit a float in the end

_WEIGHTS: Final[tuple[tuple[type[EspeerError], float], ...]] = (
    (FromTheFuture, 0.0),
    (UnknownVersion, 0.0),
    (SlowReader, 2.0),
    (BrokenPromise, 2.0),
    (Flooding, 20.0),
    (BadSignature, 50.0),
    (FrameTooLarge, 50.0),
    (RecordError, 25.0),
    (ProtocolError, 25.0),
)
"""The first that fits counts; any other error is none of the peer's doing."""


def weight(error: EspeerError) -> float:
    """How much what a peer did wrong weighs; 0 for what an honest peer may do."""
    return next((weight for kind, weight in _WEIGHTS if isinstance(error, kind)), 0.0)


@dataclass(slots=True)
class _Past:
    """What is known of a peer.

    :ivar score: as it was at ``at``.
    :ivar bans: how many it had.
    :ivar until: when the last one ends or ended.
    """

    score: float
    at: float
    bans: int = 0
    until: float = float("-inf")


class Reputation:
    """Who did what wrong.

    :param most: how many peers are remembered.
    """

    def __init__(self, *, most: int = MAX_PEERS) -> None:
        self._most = most
        self._peers: dict[str, _Past] = {}

    def __len__(self) -> int:
        """How many peers are remembered."""
        return len(self._peers)

    def offend(self, peer_id: str, weight: float, now: float) -> bool:
        """Note an offence; the return value says whether the peer is banned for it. While it is banned, nothing adds up."""
        if weight <= 0 or self.banned(peer_id, now):
            return False
        past = self._peers.get(peer_id)
        if past is None:
            self._make_room(now)
            past = self._peers[peer_id] = _Past(0.0, now)
        past.score = _decayed(past, now) + weight
        past.at = now
        if past.score < LIMIT:
            return False
        if now > past.until + MEMORY:
            past.bans = 0
        past.until = now + min(FIRST_BAN * GROWTH ** min(past.bans, _LONGEST_AFTER), LAST_BAN)
        past.bans += 1
        past.score = LIMIT / 2  # when it comes back it is not a stranger
        past.at = past.until
        return True

    def banned(self, peer_id: str, now: float) -> bool:
        """Whether a peer is banned."""
        past = self._peers.get(peer_id)
        return past is not None and now < past.until

    def bans(self, now: float) -> dict[str, float]:
        """The banned peers, and for how many seconds yet."""
        return {peer_id: past.until - now for peer_id, past in self._peers.items() if now < past.until}

    def score(self, peer_id: str, now: float) -> float:
        """A peer's score; 0 for one that did nothing wrong."""
        past = self._peers.get(peer_id)
        return 0.0 if past is None else _decayed(past, now)

    def _make_room(self, now: float) -> None:
        """Forget an eighth of a full table: first whose score is lowest, of the banned those that come back soonest."""
        if len(self._peers) < self._most:
            return

        def worth(peer_id: str) -> tuple[float, float]:
            past = self._peers[peer_id]
            return max(0.0, past.until - now), _decayed(past, now)

        for peer_id in sorted(self._peers, key=worth)[: max(1, self._most // 8)]:
            del self._peers[peer_id]


def _decayed(past: _Past, now: float) -> float:
    return past.score * math.exp2(-max(0.0, now - past.at) / HALF_LIFE)
