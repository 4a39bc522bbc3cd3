"""Who is connected, and who waits for that to change."""

from collections.abc import Callable

import trio
from libp2p.abc import INetConn, INetStream, INetwork, INotifee
from libp2p.rcmgr import Direction
from multiaddr import Multiaddr  # type: ignore[import-untyped] # ships no types

from espeer.log import get_logger

log = get_logger(__name__)


class Links:
    """The peers that we are connected to, by peer id.

    :param tell: called with a peer's id, and whether it was connected or went.
    """

    def __init__(self, tell: Callable[[str, bool], None] = lambda *_: None) -> None:
        self._tell = tell
        self._up: set[str] = set()
        self._changed = trio.Event()

    @property
    def up(self) -> frozenset[str]:
        """The peers connected now."""
        return frozenset(self._up)

    def set(self, peer_id: str, *, connected: bool) -> None:
        """Note a change and wake who waits for it."""
        if connected == (peer_id in self._up):
            return
        self._up ^= {peer_id}
        log.debug("connected" if connected else "disconnected", peer=peer_id, peers=len(self._up))
        self._tell(peer_id, connected)
        self._wake()

    def clear(self) -> None:
        """Note that nobody is connected any more."""
        gone, self._up = self._up, set()
        for peer_id in gone:
            self._tell(peer_id, False)
        self._wake()

    async def wait_for(self, condition: Callable[[frozenset[str]], bool]) -> None:
        """Wait until ``condition`` holds for the connected peers."""
        while not condition(self.up):
            await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class LinksNotifee(INotifee):
    """Tells :class:`Links` what libp2p tells; never waits, for libp2p waits for it.

    :param dialled: called with the peer id when a connection that we opened stands.
    """

    def __init__(self, links: Links, dialled: Callable[[str], None]) -> None:
        self._links = links
        self._dialled = dialled

    async def connected(self, network: INetwork, conn: INetConn) -> None:  # noqa: ARG002 - libp2p's signature, here and below
        """Note a connection."""
        peer_id = str(conn.muxed_conn.peer_id)
        self._links.set(peer_id, connected=True)
        if getattr(conn, "direction", None) is Direction.OUTBOUND:
            self._dialled(peer_id)

    async def disconnected(self, network: INetwork, conn: INetConn) -> None:
        """Note the end of a peer's last connection."""
        peer = conn.muxed_conn.peer_id
        self._links.set(str(peer), connected=bool(network.get_connections(peer)))

    async def opened_stream(self, network: INetwork, stream: INetStream) -> None:
        """Not of interest."""

    async def closed_stream(self, network: INetwork, stream: INetStream) -> None:
        """Not of interest."""

    async def listen(self, network: INetwork, multiaddr: Multiaddr) -> None:
        """Not of interest."""

    async def listen_close(self, network: INetwork, multiaddr: Multiaddr) -> None:
        """Not of interest."""
