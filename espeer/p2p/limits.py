"""How much a peer or an author may send, and what was seen of late: token buckets and bounded sets (pure).

Times are seconds of any clock that only goes forward.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)

MAX_BUCKETS: Final = 4096


class Bucket:
    """A token bucket: ``rate`` tokens a second flow in, at most ``burst`` are kept."""

    __slots__ = ("_at", "_burst", "_level", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._at = now

    def level(self, now: float) -> float:
        """How many tokens there are; less than none if some are owed."""
        return min(self._burst, self._level + max(0.0, now - self._at) * self._rate)

    def take(self, now: float, cost: float = 1.0) -> bool:
        """Take tokens if there are enough, and say whether there were."""
        level = self.level(now)
        if level < cost:
            return False
        self._level, self._at = level - cost, max(now, self._at)
        return True

    def owe(self, now: float, cost: float) -> float:
        """Take tokens whether there are enough or not, and say how many seconds it takes until none are owed."""
        self._level, self._at = self.level(now) - cost, max(now, self._at)
        return max(0.0, -self._level / self._rate)


class Buckets(Generic[_Key]):
    """A bucket for each key. A full bucket says nothing, so that one is forgotten first.

    :param most: how many are kept.
    """

    def __init__(self, rate: float, burst: float, *, most: int = MAX_BUCKETS) -> None:
        self._rate = rate
        self._burst = burst
        self._most = most
        self._buckets: dict[_Key, Bucket] = {}

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._buckets)

    def level(self, key: _Key, now: float) -> float:
        """As :meth:`Bucket.level`."""
        found = self._buckets.get(key)
        return self._burst if found is None else found.level(now)

    def holds(self, key: _Key, now: float, cost: float = 1.0) -> bool:
        """Whether there are enough tokens."""
        return self.level(key, now) >= cost

    def take(self, key: _Key, now: float, cost: float = 1.0) -> bool:
        """As :meth:`Bucket.take`."""
        return self._bucket(key, now).take(now, cost)

    def owe(self, key: _Key, now: float, cost: float) -> float:
        """As :meth:`Bucket.owe`."""
        return self._bucket(key, now).owe(now, cost)

    def _bucket(self, key: _Key, now: float) -> Bucket:
        found = self._buckets.get(key)
        if found is None:
            if len(self._buckets) >= self._most:
                fullest = sorted(self._buckets, key=lambda key: -self._buckets[key].level(now))
                for old in fullest[: max(1, self._most // 8)]:
                    del self._buckets[old]
            found = self._buckets[key] = Bucket(self._rate, self._burst, now)
        return found


class Recent:
    """The ids that were added last.

    :param most: how many.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._ids: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._ids)

    def __contains__(self, id: bytes) -> bool:
        """Whether ``id`` is one of them."""
        return id in self._ids

    def add(self, id: bytes) -> None:
        """Add an id, as the latest."""
        self._ids[id] = None
        self._ids.move_to_end(id)
        if len(self._ids) > self._most:
            self._ids.popitem(last=False)
