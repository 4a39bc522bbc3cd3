"""Who may use a relay: reservations and circuits, within bounds (pure)."""

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a relay gives.

    :ivar reservations: how many peers may be reachable through it at a time.
    :ivar per_host: how many of these from one IP address, or one IPv6 site.
    :ivar seconds: how long a reservation lasts unless it is refreshed.
    :ivar circuits: how many circuits there may be at a time.
    :ivar per_peer: how many of these may begin, or end, at one peer.
    :ivar per_pair: how many of these may join the same two: one that is gone may not have been noticed yet.
    :ivar circuit_seconds: how long a circuit may last; its ends dial again.
    :ivar circuit_bytes: how much a circuit may carry, both ways together.
    :ivar rate: bytes per second that a circuit carries each way.
    """

    reservations: int = 32
    per_host: int = 8
    seconds: float = 3600.0
    circuits: int = 32
    per_peer: int = 8
    per_pair: int = 2
    circuit_seconds: float = 3600.0
    circuit_bytes: int = 64 * 1024 * 1024
    rate: float = 1024.0 * 1024.0


class Slots:
    """The reservations and circuits of a relay; peers are named by their ids, times are seconds on any one clock."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._reserved: dict[str, tuple[str, float]] = {}
        self._pairs: Counter[frozenset[str]] = Counter()

    @property
    def circuits(self) -> int:
        """How many circuits there are."""
        return self._pairs.total()

    @property
    def reserved(self) -> tuple[str, ...]:
        """Who has, or had, a reservation that was not released."""
        return tuple(self._reserved)

    def reserve(self, peer_id: str, host: str, now: float) -> bool:
        """Take or refresh a reservation; False if there is no room for it."""
        self._reserved = {peer: held for peer, held in self._reserved.items() if held[1] > now}
        others = [held[0] for peer, held in self._reserved.items() if peer != peer_id]
        if len(others) >= self._limits.reservations or others.count(host) >= self._limits.per_host:
            return False
        self._reserved[peer_id] = (host, now + self._limits.seconds)
        return True

    def is_reserved(self, peer_id: str, now: float) -> bool:
        """Whether the peer has a reservation."""
        held = self._reserved.get(peer_id)
        return held is not None and held[1] > now

    def release(self, peer_id: str) -> None:
        """End a reservation, if there is one."""
        self._reserved.pop(peer_id, None)

    def join(self, source: str, target: str) -> bool:
        """Take a circuit; False if there is no room for it. Whoever gets one calls :meth:`part`."""
        pair = frozenset((source, target))
        full = any(self._circuits_of(peer) >= self._limits.per_peer for peer in pair)
        if full or self.circuits >= self._limits.circuits or self._pairs[pair] >= self._limits.per_pair:
            return False
        self._pairs[pair] += 1
        return True

    def part(self, source: str, target: str) -> None:
        """End a circuit."""
        self._pairs[frozenset((source, target))] -= 1
        self._pairs += Counter()  # forgets the zeros

    def _circuits_of(self, peer_id: str) -> int:
        return sum(count for pair, count in self._pairs.items() if peer_id in pair)
