"""The replica, as the network sees it."""

from collections.abc import Callable, Sequence

from espeer.errors import TypeNotHeld
from espeer.keys import Keys, KeySet, Offer
from espeer.p2p.door import Found
from espeer.records import SignedRecord
from espeer.replica import Replica
from espeer.tasks import in_thread


class ReplicaDoor:
    """A :class:`espeer.p2p.door.Door` that blocks no other task while the database works.

    :param tell: called with what is new, and the way it came.
    """

    def __init__(self, replica: Replica, *, tell: Callable[[Sequence[SignedRecord], str], None] = lambda *_: None) -> None:
        self._replica = replica
        self._tell = tell

    async def add(self, records: Sequence[SignedRecord], *, via: str) -> int:
        """Take verified records, all or none; return how many were new."""
        new = await in_thread(lambda: self._replica.add(records, via=via))
        if new:
            self._tell(new, via)
        return len(new)

    async def keys(self, type: str) -> Keys:
        """Return the keys of all records known of a type."""
        return await in_thread(self._replica.keys, type)

    async def unknown(self, ids: Sequence[bytes]) -> list[bytes]:
        """Return those of the ids that no record is known of."""
        return await in_thread(self._replica.unknown, ids)

    async def offer(self, type: str, ids: Sequence[bytes]) -> Offer:
        """Return what another node may have of these records."""
        return await in_thread(self._replica.offer, type, ids)

    async def withheld(self, type: str, ids: Sequence[bytes]) -> list[bytes]:
        """Return the keys of those of these records that nobody may have any more."""
        return await in_thread(self._replica.withheld, type, ids)

    async def recall(self, query: str, k: int, types: Sequence[str]) -> list[Found]:
        """Return the experiences that fit a query best, best first."""
        found = await in_thread(lambda: self._replica.recall_signed(query, k, types=types))
        return [Found(signed, score) for signed, score in found]


class NoDoor:
    """The :class:`espeer.p2p.door.Door` of a node without a replica: there is nothing behind it."""

    async def add(self, records: Sequence[SignedRecord], *, via: str) -> int:
        """Refuse records.

        :raises TypeNotHeld: always, for no type is held.
        """
        raise TypeNotHeld(f"{len(records)} records came by {via}, but a client holds none")

    async def keys(self, type: str) -> Keys:  # noqa: ARG002 - nothing is held of any
        """Return no keys."""
        return KeySet([]).snapshot()

    async def unknown(self, ids: Sequence[bytes]) -> list[bytes]:
        """Return all the ids."""
        return list(ids)

    async def offer(self, type: str, ids: Sequence[bytes]) -> Offer:  # noqa: ARG002 - as above
        """Return no records."""
        return Offer([], [])

    async def withheld(self, type: str, ids: Sequence[bytes]) -> list[bytes]:  # noqa: ARG002 - as above
        """Return no keys."""
        return []

    async def recall(self, query: str, k: int, types: Sequence[str]) -> list[Found]:  # noqa: ARG002 - as above
        """Return nothing."""
        return []
