"""What the network needs of the node, and what it counts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from espeer.errors import EspeerError
from espeer.keys import Keys, Offer
from espeer.records import SignedRecord

Blame = Callable[[str, EspeerError], None]
"""Told of a peer, by its peer id, and of what it did wrong: a ProtocolError or a RecordError."""


@dataclass(frozen=True, slots=True)
class Found:
    """A recalled experience on its way to another node.

    :ivar score: its BM25 score in the replica it was found in; it says nothing beside those of another replica.
    """

    signed: SignedRecord
    score: float


class Door(Protocol):
    """The replica's door as the network sees it. Calls may overlap.

    An EspeerError from ``add`` (a full disk, say) costs the exchange at hand, never the connection or the node.
    """

    async def add(self, records: Sequence[SignedRecord], *, via: str) -> int:
        """Take verified records; known ones are fine. ``via`` is ``gossip``, ``sync`` or ``submit``.

        :returns: how many were new.
        """

    async def keys(self, type: str) -> Keys:
        """The keys of all records known of a type, those whose text is not kept any more, too."""

    async def unknown(self, ids: Sequence[bytes]) -> list[bytes]:
        """Those of the ids that no record is known of, in the same order."""

    async def offer(self, type: str, ids: Sequence[bytes]) -> Offer:
        """What another node may have of these records of a type."""

    async def withheld(self, type: str, ids: Sequence[bytes]) -> list[bytes]:
        """The keys of those of these records of a type that are known and that nobody may have."""

    async def recall(self, query: str, k: int, types: Sequence[str]) -> list[Found]:
        """The ``k`` experiences of these types that fit a query best, best first."""


@dataclass(slots=True)
class Counters:
    """Records, counted since the node started.

    :ivar published: given to gossip.
    :ivar delivered: brought by gossip and taken by the door.
    :ivar rejected: gossip messages (not records: they may be anything) that broke a rule and were not passed on.
    :ivar dropped: not published or not delivered because a queue was full; sync carries them.
    :ivar duplicates: brought to the door, by whatever way, though they were known already.
    :ivar synced_in: brought by sync and taken by the door.
    :ivar synced_out: sent to peers by sync.
    :ivar sync_checks: how often we compared a type with a peer to the end.
    :ivar sync_rounds: messages of ours, each answered, that these took.
    :ivar sync_bytes_in: received in pulls, whoever began them; frames of ours, without what libp2p adds.
    :ivar sync_bytes_out: sent in pulls.
    :ivar circuits: (not records) joined for others as a relay.
    :ivar relayed: bytes carried for others as a relay.
    :ivar replayed: gossip messages (not records) that brought nothing but what gossip had brought before.
    :ivar offences: what peers did wrong.
    :ivar bans: how many times a peer was thrown out and kept out for a while.
    :ivar asked: recalls (not records) that peers answered for us.
    :ivar answered: recalls that we answered for peers.
    :ivar accepted: taken from clients, those known already among them.
    :ivar submitted: given to a server, which has them.
    """

    published: int = 0
    delivered: int = 0
    rejected: int = 0
    dropped: int = 0
    duplicates: int = 0
    synced_in: int = 0
    synced_out: int = 0
    sync_checks: int = 0
    sync_rounds: int = 0
    sync_bytes_in: int = 0
    sync_bytes_out: int = 0
    circuits: int = 0
    relayed: int = 0
    replayed: int = 0
    offences: int = 0
    bans: int = 0
    asked: int = 0
    answered: int = 0
    accepted: int = 0
    submitted: int = 0
