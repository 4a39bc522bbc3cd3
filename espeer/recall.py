"""Recall, wherever the experiences are: in the replica here, with a server, with peers that hold other types.

BM25 scores of different replicas say nothing beside each other: each counts how rare a word is in its own texts. So what
comes from several is ranked by coverage, which means the same everywhere and is worked out here, then by the rank that each
replica gave it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import trio

from espeer.errors import InputError
from espeer.log import get_logger
from espeer.p2p.question import MAX_TYPES
from espeer.p2p.remote import Replies
from espeer.replica import MIN_COVERAGE, Hit, Replica
from espeer.tasks import background, in_thread

MERGE_SECONDS: Final = 0.3
"""How long what is held here may wait for what others hold."""

Terms = Callable[[str], Sequence[str]]
"""Splits a text into terms."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Recalled:
    """What was recalled.

    :ivar hits: the experiences, best first.
    :ivar searched: the topic types that were searched.
    :ivar unreached: those that should have been, but nobody who holds them answered in time.
    :ivar waited: seconds that others were waited for, beyond the time that recalling here took.
    """

    hits: tuple[Hit, ...] = ()
    searched: tuple[str, ...] = ()
    unreached: tuple[str, ...] = ()
    waited: float = field(default=0.0, compare=False)


class Others(Protocol):
    """Other nodes, as recall sees them."""

    def types_known(self) -> Sequence[str]:
        """The types that connected nodes hold, those that most hold first."""

    async def recall(self, query: str, k: int, types: Sequence[str], *, seconds: float, patient: bool) -> Replies:
        """See :meth:`espeer.p2p.remote.Remote.recall`."""


class Recall:
    """Recalls.

    :param replica: what is held here; None for a client.
    :param others: None without a network.
    :param types: the node's types.
    :param terms: compares a query with what others tell.
    :param seconds: how long others may take where they are the only ones to ask.
    :param ask_peers: ask others about further types when no type is named.
    """

    def __init__(
        self,
        replica: Replica | None,
        others: Others | None,
        *,
        types: Sequence[str],
        terms: Terms,
        seconds: float,
        ask_peers: bool,
    ) -> None:
        self._replica = replica
        self._others = others
        self._types = tuple(types)
        self._terms = terms
        self._seconds = seconds
        self._ask_peers = ask_peers
        self._missed: tuple[str, ...] = ()

    def check(self, type: str | None) -> None:
        """See that experiences of a type can be recalled; None stands for all that are held here.

        :raises InputError: neither this node nor a connected one holds it.
        """
        if type is None or type in self._types:
            return
        others = self._others.types_known() if self._others else ()
        if type not in others:
            further = sorted(set(others).difference(self._types))[:MAX_TYPES]
            elsewhere = f", and connected ones hold {', '.join(further)}" if further else ""
            raise InputError(f"this node does not hold the type {type!r}; it holds {', '.join(self._types)}{elsewhere}")

    async def recall(self, query: str, k: int, *, type: str | None) -> Recalled:
        """Return the ``k`` experiences that fit best, of all types held here or of the one named."""
        if k < 1:
            return Recalled()
        wanted = self._types if type is None else (type,)
        here = () if self._replica is None else tuple(name for name in wanted if name in self._types)
        there = tuple(name for name in wanted if name not in here)
        if type is None and self._ask_peers and self._others:
            there += tuple(name for name in self._others.types_known() if name not in wanted)[:MAX_TYPES]
        local: list[Hit] = []
        replies, asked = Replies((), ()), trio.Event()
        waited = 0.0

        async def ask() -> None:
            nonlocal replies
            replies = await self._ask(query, k, there, beside=bool(here))
            asked.set()

        async with background() as nursery:
            if there:
                nursery.start_soon(ask)
            if self._replica is not None and here:
                local = await in_thread(self._replica.recall, query, k, None if type is None else here)
            if there:
                alone = trio.current_time()
                await asked.wait()
                waited = trio.current_time() - alone
        self._note(replies.unreached)
        searched = tuple(name for name in (*here, *there) if name not in replies.unreached)
        return Recalled(tuple(merge([local, *self._judged(query, replies)])[:k]), searched, replies.unreached, waited)

    async def _ask(self, query: str, k: int, types: Sequence[str], *, beside: bool) -> Replies:
        """Ask others; where something is recalled here, too, that must not wait for them long."""
        if self._others is None:
            return Replies((), tuple(types))
        seconds = min(MERGE_SECONDS, self._seconds) if beside else self._seconds
        return await self._others.recall(query, k, types, seconds=seconds, patient=not beside)

    def _judged(self, query: str, replies: Replies) -> list[list[Hit]]:
        """Measure what others told by our own measure; a list for each peer, in its order."""
        asked = set(self._terms(query))
        by_peer: dict[str, list[Hit]] = {}
        for told in sorted(replies.told, key=lambda told: told.rank):
            coverage = len(asked.intersection(self._terms(told.experience.text))) / max(1, len(asked))
            if coverage >= MIN_COVERAGE:
                hit = Hit(told.id.hex(), told.experience, told.score, coverage, told.peer_id)
                by_peer.setdefault(told.peer_id, []).append(hit)
        return list(by_peer.values())

    def _note(self, unreached: tuple[str, ...]) -> None:
        """Log once that types cannot be reached, and once that they can again."""
        if unreached and not self._missed:
            log.warning("nobody who holds these types answers; going on without their experiences", types=list(unreached))
        elif self._missed and not unreached:
            log.info("those who hold these types answer again", types=list(self._missed))
        self._missed = unreached


def merge(lists: Sequence[Sequence[Hit]]) -> list[Hit]:
    """Put together what several replicas recalled, each best first. Of equal experiences the first list's is taken."""
    filled = [hits for hits in lists if hits]
    if len(filled) == 1:  # one replica's own order is better than ours
        return list(filled[0])
    best: dict[str, tuple[int, Hit]] = {}
    for hits in filled:
        for rank, hit in enumerate(hits):
            best.setdefault(hit.id, (rank, hit))
    return [hit for rank, hit in sorted(best.values(), key=lambda ranked: (-ranked[1].coverage, ranked[0]))]
