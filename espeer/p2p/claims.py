"""Who is fetching which records right now, so that each is fetched once (pure).

A claim holds for a while only: a peer that says it has everything and gives it byte by byte must not keep it from those that
give. Times are seconds of any clock that only goes forward.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

CLAIM_SECONDS: Final = 10.0
"""How long what is asked of one peer is not asked of another."""
MAX_PUT_OFF: Final = 16_384
"""How many records are remembered that are no use before a later time."""
LONGEST: Final = 3600.0
"""After so many seconds a record that was put off is looked at again: clocks are set."""


@dataclass(slots=True)
class _Claim:
    """What is being fetched.

    :ivar peer_id: from whom.
    :ivar passed: who else has it, and was not asked.
    """

    peer_id: str
    until: float
    passed: set[str] = field(default_factory=set)


class Claims:
    """The ids of records that are being fetched, by whom they are fetched from."""

    def __init__(self) -> None:
        self._claims: dict[bytes, _Claim] = {}
        self._later: dict[bytes, float] = {}

    def __len__(self) -> int:
        """How many are being fetched."""
        return len(self._claims)

    def take(self, peer_id: str, ids: Iterable[bytes], now: float, *, seconds: float = CLAIM_SECONDS) -> list[bytes]:
        """Claim those of the ids that nobody else is being asked for and that were not put off; return them.

        :param seconds: how long others are not asked for them.
        """
        taken = []
        for id_ in ids:
            claim = self._claims.get(id_)
            if claim is not None and claim.peer_id != peer_id and now < claim.until:
                claim.passed.add(peer_id)
            elif now >= self._later.get(id_, now):
                passed = claim.passed | {claim.peer_id} if claim is not None else set()
                self._claims[id_] = _Claim(peer_id, now + seconds, passed - {peer_id})
                taken.append(id_)
        return taken

    def release(self, peer_id: str, ids: Sequence[bytes], missing: Collection[bytes]) -> set[str]:
        """Give claims back, whatever became of them.

        :param missing: those of the ids that the peer did not give.
        :returns: who has some of these, and was passed over.
        """
        others: set[str] = set()
        for id_ in ids:
            claim = self._claims.get(id_)
            if claim is not None and claim.peer_id == peer_id:  # else it ran out, and somebody else has it
                del self._claims[id_]
                if id_ in missing:
                    others |= claim.passed
        return others

    def put_off(self, id: bytes, until: float, now: float) -> None:
        """Do not have a record asked of anybody before a time: it is the same everywhere."""
        if len(self._later) >= MAX_PUT_OFF:
            self._later = {other: due for other, due in self._later.items() if due > now}
        if len(self._later) < MAX_PUT_OFF:
            self._later[id] = min(until, now + LONGEST)
