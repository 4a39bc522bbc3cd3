"""What one side of two peers knows and cannot give to the other, so that it is not found to differ again and again (pure)."""

from collections.abc import Iterable, Sequence
from typing import Final

from espeer.keys import STAMP_SIZE, Keys, KeySet

MAX_GONE: Final = 50_000
"""How many keys are remembered of a peer and type."""


class Gone:
    """Keys, by peer and type.

    :param most: how many are remembered in all; what was noted first goes first.
    """

    def __init__(self, most: int = 4 * MAX_GONE) -> None:
        self._most = most
        self._size = 0
        self._noted: dict[tuple[str, str], dict[bytes, bytes]] = {}

    def add(self, peer_id: str, type: str, keys: Sequence[bytes]) -> None:
        """Remember keys."""
        noted = self._noted.pop((peer_id, type), {})
        self._size -= len(noted)
        noted.update((key[STAMP_SIZE:], key) for key in keys)
        for id_ in list(noted)[: max(0, len(noted) - MAX_GONE)]:
            del noted[id_]
        self._noted[peer_id, type] = noted
        self._size += len(noted)
        while self._size > self._most:
            self._size -= len(self._noted.pop(next(iter(self._noted))))

    def discard(self, peer_id: str, type: str, ids: Iterable[bytes]) -> None:
        """Forget keys by their ids."""
        noted = self._noted.get((peer_id, type), {})
        for id_ in ids:
            self._size -= noted.pop(id_, None) is not None

    def keys(self, peer_id: str, type: str) -> list[bytes]:
        """Return what is remembered of a peer and type."""
        return list(self._noted.get((peer_id, type), {}).values())


def compared(keys: Keys, *, theirs: Iterable[bytes], ours: Iterable[bytes]) -> KeySet:
    """Our keys as they are compared with those of a peer. With many that are gone it takes a tenth of a second.

    :param theirs: what it cannot give us, and knows.
    :param ours: what we cannot give it, and it does not know.
    """
    made = KeySet.of(keys)
    for key in ours:
        made.discard(key)
    for key in theirs:
        made.add(key)
    return made
