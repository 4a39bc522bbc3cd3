"""Sync: pulls from peers what we lack, when they come, when they tell that there is something, and again and again.

Gossip is the fast path and loses records; this carries correctness.
"""

from collections.abc import Callable, Collection
from functools import partial
from typing import Final

import trio

from espeer.log import get_logger
from espeer.p2p.claims import Claims
from espeer.p2p.conversations import Conversations
from espeer.p2p.frames import Frames
from espeer.p2p.gone import Gone
from espeer.p2p.host import Node
from espeer.p2p.limits import Buckets
from espeer.p2p.local import Local
from espeer.p2p.pull import Provider, Pull
from espeer.p2p.rounds import Rounds

PULL_SECONDS: Final = 600.0
"""How long a pull may take; the next one goes on where it ended."""
TURN_SECONDS: Final = 30.0
"""How long it may take if it brings nothing."""
PER_RECORD: Final = 0.1
"""How much longer for each record that it brings: who trickles must not keep us from the others."""
MAX_PULLS: Final = 3
"""From how many peers we pull at a time."""
MAX_INBOUND: Final = 16
"""How many peers may pull from us at a time."""
WORK: Final = 0.3
"""Seconds of work a second that we do for one peer that pulls."""
WORK_AT_ONCE: Final = 5.0
NEWS_SECONDS: Final = 5.0
"""How often a peer's word that it has something for us is heard, at most."""
CAME_SECONDS: Final = 5.0
"""How often a peer is pulled from because it subscribed, at most, after the first :data:`MAX_CAME` times."""
MAX_CAME: Final = 64
"""The most types that a node may hold: it subscribes to all at the same time."""
AGAIN_SECONDS: Final = 5.0
"""How often a peer is pulled from once more, at most, because another did not give what this one was not asked for."""

log = get_logger(__name__)


class Sync:
    """Keeps this replica complete.

    :param interval: average seconds between pulls from a random peer.
    :param sharing: the connected peers that hold a type that is held here.
    """

    def __init__(self, local: Local, *, interval: float, sharing: Callable[[], Collection[str]]) -> None:
        self._local = local
        self._counters = local.counters
        self._gone = Gone()
        self._withheld = Gone()
        self._claims = Claims()
        self._work = Buckets[str](WORK, WORK_AT_ONCE)
        self._news = Buckets[str](1 / NEWS_SECONDS, 1)
        self._came = Buckets[str](1 / CAME_SECONDS, MAX_CAME)
        self._again = Buckets[str](1 / AGAIN_SECONDS, 2)
        self._rounds = Rounds("sync", links=local.links, rng=local.rng, interval=interval, at_a_time=MAX_PULLS, likely=sharing)
        self._conversations = Conversations(local.named("sync/2"), blame=local.blame, seconds=PULL_SECONDS, inbound=MAX_INBOUND)

    def request(self, peer_id: str) -> None:
        """Pull from a connected peer soon."""
        self._rounds.request(peer_id)

    def subscribed(self, peer_id: str) -> None:
        """Pull from a peer that subscribed to a type held here, soon; not again and again if it does so again and again."""
        if self._came.take(peer_id, trio.current_time()):
            self.request(peer_id)

    async def run(self, node: Node, *, task_status: trio.TaskStatus[None]) -> None:
        """Pull until cancelled; started once peers can pull from us."""
        self._conversations.serve(node, self._provide)
        task_status.started()
        await self._rounds.run(partial(self._pull, node))

    async def _pull(self, node: Node, peer_id: str) -> None:
        latest = trio.current_time() + PULL_SECONDS
        turn = trio.CancelScope(deadline=trio.current_time() + TURN_SECONDS)

        def brought(count: int) -> None:
            turn.deadline = min(latest, turn.deadline + count * PER_RECORD)

        done = False
        try:
            with turn:
                async with self._conversations.open(node, peer_id) as frames:
                    pull = Pull(
                        frames,
                        self._local.door,
                        peer_id,
                        self._local.now_ms,
                        self._counters,
                        self._gone,
                        self._withheld,
                        self._claims,
                        trusted=not self._rounds.is_back(peer_id),
                        brought=brought,
                        again=self._once_more,
                    )
                    try:
                        await pull.run(sorted(self._local.types))
                    finally:
                        self._count(frames)
                    done = True
        finally:
            # who ends it right before its time is over is no better
            late = turn.deadline - trio.current_time() < TURN_SECONDS / 2
            self._rounds.put_back(peer_id, back=late or not done)
        if turn.cancelled_caught:
            log.debug("a pull took too long for what it brought", peer=peer_id)

    def _once_more(self, peer_id: str) -> None:
        if self._again.take(peer_id, trio.current_time()):
            self.request(peer_id)

    async def _provide(self, peer_id: str, frames: Frames) -> None:
        try:
            work = partial(self._may_work, peer_id)
            ahead = await Provider(frames, self._local.door, self._local.types, self._counters, work).run()
        finally:
            self._count(frames)
        if ahead and self._news.take(peer_id, trio.current_time()):
            self.request(peer_id)

    async def _may_work(self, peer_id: str, seconds: float) -> None:
        await trio.sleep(self._work.owe(peer_id, trio.current_time(), seconds))

    def _count(self, frames: Frames) -> None:
        self._counters.sync_bytes_in += frames.received
        self._counters.sync_bytes_out += frames.sent
