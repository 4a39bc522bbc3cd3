"""The replica, as the network sees it."""

from collections.abc import Sequence

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

    async def ids(self, type: str) -> list[bytes]:
        """Return the ids of all records of a type."""
        return await in_thread(self._replica.ids, type)

    async def get(self, ids: Sequence[bytes]) -> list[SignedRecord]:
        """Return the records of these ids that are held."""
        return await in_thread(self._replica.get, ids)
