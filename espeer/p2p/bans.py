"""What follows from an offence: it is counted, and who has too many is thrown out and kept out for a while."""

from typing import Final

import trio
from libp2p.peer.id import ID

from espeer.errors import EspeerError
from espeer.log import get_logger
from espeer.p2p.door import Counters
from espeer.p2p.host import Node
from espeer.p2p.muxer import SafeYamux
from espeer.p2p.trust import Reputation, weight

_CLOSE_SECONDS: Final = 2.0

log = get_logger(__name__)


class Bans:
    """The bans of one node. They outlive the network part's restarts, not the node's."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._reputation = Reputation()
        self._due: set[str] = set()
        self._wake = trio.Event()

    def blame(self, peer_id: str, error: EspeerError) -> None:
        """Note what a peer did wrong. Never waits."""
        heavy = weight(error)
        log.debug("offence", peer=peer_id, weight=heavy, reason=str(error))
        if not heavy:
            return
        self._counters.offences += 1
        now = trio.current_time()
        if self._reputation.offend(peer_id, heavy, now):
            self._counters.bans += 1
            log.warning("peer banned", peer=peer_id, seconds=round(self._reputation.bans(now)[peer_id]), reason=str(error))
            self._due.add(peer_id)
            self._wake.set()

    def banned(self, peer_id: str) -> bool:
        """Whether a peer is banned."""
        return self._reputation.banned(peer_id, trio.current_time())

    def score(self, peer_id: str) -> float:
        """How bad a peer is, from 0 to below :data:`~espeer.p2p.trust.LIMIT`."""
        return self._reputation.score(peer_id, trio.current_time())

    async def run(self, node: Node) -> None:
        """Throw out who is banned, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                for peer_id in self._due:
                    nursery.start_soon(_throw_out, node, ID.from_string(peer_id))
                self._due.clear()


async def _throw_out(node: Node, peer: ID) -> None:
    """Close a peer's connections, by force if it does not take the news."""
    connections = node.network.get_connections(peer)
    try:
        with trio.move_on_after(_CLOSE_SECONDS):
            await node.host.disconnect(peer)
    except Exception as error:  # noqa: BLE001 - it may be gone already, in many ways
        log.debug("disconnect", peer=str(peer), error=repr(error))
    for connection in connections:
        muxer = connection.muxed_conn
        if isinstance(muxer, SafeYamux) and not muxer.is_closed:
            await muxer.hang_up()
