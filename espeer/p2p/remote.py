"""Recall from other nodes, and for them (protocol ``/espeer/1/<network>/recall/1``).

One question and one reply a stream. What comes back are signed records, which are used in a prompt and never stored. A peer
that does not answer in time is set aside for a while; one that lies is blamed; in either case the next is asked.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import trio

from espeer.errors import NetworkError, RecordError
from espeer.log import get_logger
from espeer.p2p.conversations import Conversations
from espeer.p2p.frames import Frames
from espeer.p2p.host import Node
from espeer.p2p.limits import Bucket, Buckets
from espeer.p2p.local import Local
from espeer.p2p.question import (
    BUSY,
    MAX_K,
    MAX_REPLY,
    NOT_HELD,
    Question,
    Told,
    clipped,
    decode_question,
    decode_reply,
    encode_question,
    encode_reply,
)

RATE, BURST = 20.0, 40.0
"""Questions that one peer may ask: a second, and at once."""
RATE_OF_ALL, BURST_OF_ALL = 100.0, 200.0
"""The same for all peers together; a question costs a few milliseconds."""
ANSWER_SECONDS: Final = 10.0
"""How long a conversation may take."""
PEERS_AT_A_TIME: Final = 4
"""How many peers a question may go to at a time, each for other types."""
ROUNDS: Final = 3
"""How many peers are asked about the same type before that is given up."""
DOUBT_SECONDS: Final = 0.2
"""How long the next peer is waited for where one said that it knows nothing."""
ASIDE_SECONDS: Final = 10.0
"""How long a peer that did not answer in time is only asked where nobody else is."""
KEPT: Final = 64
"""How many replies are kept, in case the same is asked again."""
KEPT_SECONDS: Final = 15.0

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Replies:
    """What came of a question.

    :ivar told: the experiences, each once.
    :ivar unreached: the types that no peer gave a reply about.
    """

    told: tuple[Told, ...]
    unreached: tuple[str, ...]


class Remote:
    """Asks peers about types, and answers them.

    :param holders: the connected peers that may be asked about a type, in the order in which to ask them.
    """

    def __init__(self, local: Local, *, holders: Callable[[str], Sequence[str]]) -> None:
        self._local = local
        self._holders = holders
        self._conversations = Conversations(
            local.named("recall/1"),
            blame=local.blame,
            seconds=ANSWER_SECONDS,
            limit=MAX_REPLY,
            inbound=32,
            inbound_per_peer=8,
        )
        self._of_all = Bucket(RATE_OF_ALL, BURST_OF_ALL, 0.0)
        self._of_peers: Buckets[str] = Buckets(RATE, BURST)
        self._aside: dict[str, float] = {}
        self._kept: OrderedDict[Question, tuple[float, Replies]] = OrderedDict()

    def serve(self, node: Node) -> None:
        """Answer questions from now on, if anything is held."""
        self._aside.clear()
        if self._local.types:
            self._conversations.serve(node, self._answer)

    # -- asking

    async def recall(self, node: Node, query: str, k: int, types: Iterable[str], *, seconds: float, patient: bool) -> Replies:
        """Ask connected peers for the experiences that fit a query best.

        :param k: how many of each peer; more than :data:`MAX_K` are not to be had.
        :param seconds: how long this may take; what came by then counts.
        :param patient: ask also peers that did not answer of late, where there are no others.
        """
        question = Question(clipped(query), tuple(sorted(types)), min(k, MAX_K))
        until, known = self._kept.get(question, (0.0, None))
        if known is not None and trio.current_time() < until:
            return known
        told: dict[bytes, Told] = {}
        left, answered, tried = list(question.types), set[str](), set[tuple[str, str]]()
        deadline = trio.current_time() + seconds
        for _ in range(ROUNDS):
            needed = [name for name in left if name not in answered]
            plan = self._plan(left, tried, insist=needed if patient else ())
            if not plan:
                break
            tried |= {(peer_id, name) for peer_id, names in plan.items() for name in names}
            rest = deadline - trio.current_time()
            if not needed:
                rest = min(rest, DOUBT_SECONDS)
            elif self._plan(left, tried, insist=needed if patient else ()):
                rest /= 2  # there are others, who need time as well
            for peer_id, reply in (await self._ask_all(node, question, plan, seconds=rest)).items():
                answered.update(plan[peer_id])
                for one in reply:
                    told.setdefault(one.id, one)
                if reply:  # one that knows nothing may be new, or may hide what it knows: the next is asked, too
                    left = [name for name in left if name not in plan[peer_id]]
        found = Replies(tuple(told.values()), tuple(name for name in question.types if name not in answered))
        if found.told and not found.unreached:
            self._keep(question, found)
        return found

    def forget(self) -> None:
        """Forget the replies that are kept: there is something new."""
        self._kept.clear()

    def _plan(self, types: Iterable[str], tried: set[tuple[str, str]], *, insist: Collection[str]) -> dict[str, list[str]]:
        """Say whom to ask about which types next: the first in order, but rather one that is asked anyway.

        :param insist: the types about which peers that were set aside are asked, too, where there are no others.
        """
        plan: dict[str, list[str]] = {}
        now = trio.current_time()
        for name in types:
            holders = [peer_id for peer_id in self._holders(name) if (peer_id, name) not in tried]
            slow = {peer_id for peer_id in holders if self._aside.get(peer_id, 0.0) > now}
            usable = [peer_id for peer_id in holders if peer_id not in slow] or (holders if name in insist else [])
            chosen = next((peer_id for peer_id in usable if peer_id in plan), usable[0] if usable else None)
            if chosen is not None and (chosen in plan or len(plan) < PEERS_AT_A_TIME):
                plan.setdefault(chosen, []).append(name)
        return plan

    async def _ask_all(
        self, node: Node, question: Question, plan: dict[str, list[str]], *, seconds: float
    ) -> dict[str, list[Told]]:
        """Return the replies of those who answer in time."""
        replies: dict[str, list[Told]] = {}

        async def ask(peer_id: str, types: list[str]) -> None:
            try:
                replies[peer_id] = await self._ask(node, peer_id, replace(question, types=tuple(types)))
            except (NetworkError, RecordError) as error:
                log.debug("a peer does not answer a recall", peer=peer_id, reason=str(error))
            except Exception:  # a fault of ours, or of libp2p, that must not end the answer
                log.exception("a recall failed", peer=peer_id)

        with trio.move_on_after(seconds) as scope:
            async with trio.open_nursery() as nursery:
                for peer_id, types in plan.items():
                    nursery.start_soon(ask, peer_id, types)
        if scope.cancelled_caught:
            now = trio.current_time()
            self._aside = {peer_id: until for peer_id, until in self._aside.items() if until > now}
            self._aside |= {peer_id: now + ASIDE_SECONDS for peer_id in plan if peer_id not in replies}
        return replies

    async def _ask(self, node: Node, peer_id: str, question: Question) -> list[Told]:
        async with self._conversations.open(node, peer_id) as frames:
            await frames.send(encode_question(question))
            told = decode_reply(await frames.receive(), question, peer_id=peer_id, now_ms=self._local.now_ms())
        self._local.counters.asked += 1
        self._aside.pop(peer_id, None)
        return told

    def _keep(self, question: Question, replies: Replies) -> None:
        self._kept.pop(question, None)
        self._kept[question] = (trio.current_time() + KEPT_SECONDS, replies)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    # -- answering

    async def _answer(self, peer_id: str, frames: Frames) -> None:
        question = decode_question(await frames.receive())
        now = trio.current_time()
        if not (self._of_peers.take(peer_id, now) and self._of_all.take(now)):
            await frames.send(BUSY)
            return
        types = [name for name in question.types if name in self._local.types]
        if not types:
            await frames.send(NOT_HELD)
            return
        await frames.send(encode_reply(await self._local.door.recall(question.query, question.k, types)))
        self._local.counters.answered += 1
