"""What a client has learnt and no server has yet: a queue on disk.

It is the place where a client's experiences go, as the replica is that of other nodes: what is in it was acknowledged, and
leaves it only when a server has it.
"""

from collections.abc import Sequence
from typing import Final

from espeer.errors import StoreFull
from espeer.records import SignedRecord, encode, load
from espeer.replica import Replica
from espeer.store import Store

MAX_QUEUED: Final = 10_000
"""The most experiences that may wait; beyond that episodes wait undistilled."""

_STEP: Final = 256


class Queue:
    """The queue, oldest first. Methods may be called from any thread.

    :ivar types: the topic types that the client's experiences may be of.
    """

    def __init__(self, store: Store, *, types: Sequence[str], most: int = MAX_QUEUED) -> None:
        self.types = tuple(types)
        self._store = store
        self._most = most

    def __len__(self) -> int:
        """Return how many wait."""
        return int(self._store.row("SELECT count(*) FROM submissions", ())[0])

    def check_room(self) -> None:
        """See that there is room for another one.

        :raises StoreFull: there is none.
        """
        if len(self) >= self._most:
            raise StoreFull(f"{self._most:,} experiences wait for a server; see that one is up (what was learnt is kept)")

    def add(self, records: Sequence[SignedRecord], *, via: str, episode: int | None = None) -> list[SignedRecord]:  # noqa: ARG002 - as Replica.add
        """Store records, all or none, and mark the episode that the (one) record was distilled from as done.

        :returns: the new ones.
        :raises StoreFull: no room; nothing was added.
        """
        with self._store.transaction():
            self.check_room()
            sql = "INSERT INTO submissions (id, data) VALUES (?, ?) ON CONFLICT (id) DO NOTHING"
            new = [signed for signed in records if self._store.write(sql, (signed.id, encode(signed))).rowcount]
            if episode is not None:
                self._store.finish_episode(episode, records[0].id)
        return new

    def oldest(self, count: int, after: int = 0) -> list[tuple[int, SignedRecord]]:
        """Return the oldest records with their places in the queue, of those behind the place ``after``."""
        rows = self._store.rows("SELECT seq, data FROM submissions WHERE seq > ? ORDER BY seq LIMIT ?", (after, count))
        return [(seq, load(data)) for seq, data in rows]

    def remove(self, places: Sequence[int]) -> None:
        """Remove what a server has now."""
        with self._store.transaction():
            self._store.write_all("DELETE FROM submissions WHERE seq = ?", [(place,) for place in places])

    def move_to(self, replica: Replica) -> None:
        """Put what waits into a replica that holds its type: the folder's node is no client any more."""
        place = 0
        while waiting := self.oldest(_STEP, place):
            place = waiting[-1][0]
            held = [(place, signed) for place, signed in waiting if signed.record.type in replica.types]
            with self._store.transaction():
                replica.add([signed for _, signed in held], via="own")
                self.remove([place for place, _ in held])
