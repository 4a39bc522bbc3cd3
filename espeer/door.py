"""The replica, as the network sees it."""

from collections.abc import Sequence

from espeer.keys import Keys, Offer
from espeer.records import SignedRecord
from espeer.replica import Replica
from espeer.tasks import in_thread


class ReplicaDoor:
    """A :class:`espeer.p2p.door.Door` that blocks no other task while the database works."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    async def add(self, records: Sequence[SignedRecord], *, via: str) -> int:
        """Take verified records, all or none; return how many were new."""
        return len(await in_thread(lambda: self._replica.add(records, via=via)))

    async def keys(self, type: str) -> Keys:
        """Return the keys of all records known of a type."""
        return await in_thread(self._replica.keys, type)

    async def unknown(self, ids: Sequence[bytes]) -> list[bytes]:
        """Return those of the ids that no record is known of."""
        return await in_thread(self._replica.unknown, ids)

    async def offer(self, type: str, ids: Sequence[bytes]) -> Offer:
        """Return what another node may have of these records."""
        return await in_thread(self._replica.offer, type, ids)
