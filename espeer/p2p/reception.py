"""How connections are taken in: who comes from where, the handshake, and the gate."""

import functools
from collections import Counter
from typing import Final

import trio
from libp2p.abc import IMuxedConn, IRawConnection, ISecureConn
from libp2p.io.abc import ReadWriteCloser
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.swarm import Swarm as Network
from libp2p.peer.id import ID
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.transport.exceptions import SecurityUpgradeFailure
from libp2p.transport.upgrader import TransportUpgrader
from multiaddr import Multiaddr  # type: ignore[import-untyped] # ships no types

from espeer.log import get_logger
from espeer.p2p.door import Blame
from espeer.p2p.gate import Gate
from espeer.p2p.lobby import Lobby, is_loopback, source_of
from espeer.p2p.muxer import SafeYamux

HANDSHAKE_SECONDS: Final = 5.0
"""How long the two ends of a connection may take to prove who they are."""
MAX_HALF_OPEN: Final = 64
"""How many inbound connections may be in their handshake at a time."""
MAX_HALF_OPEN_PER_SOURCE: Final = 16
MAX_INBOUND: Final = 48
"""How many connections that others opened may stand; fewer than there may be in all, so that we can always dial some."""
MAX_INBOUND_PER_SOURCE: Final = 24
"""How many of these one IP address (or IPv6 /64) may have: many nodes may share one. This machine's own are not counted."""

log = get_logger(__name__)


class Reception:
    """Takes inbound connections in.

    Faults closed: libp2p counts an inbound connection for as long as the node runs, so that it takes in no more than
    ``max_connections`` ever; and a few idle connections keep everybody out.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._lobby: Lobby[ReadWriteCloser] = Lobby(most=MAX_HALF_OPEN, most_per_source=MAX_HALF_OPEN_PER_SOURCE)
        self._inside: Counter[str] = Counter()

    def install(self) -> None:
        """Have the network hand inbound connections to :meth:`receive`."""
        if not hasattr(self._network, "_handle_inbound_connection"):
            raise RuntimeError("this is not the libp2p that espeer was written for: it takes connections in another way")
        self._network._handle_inbound_connection = self.receive  # type: ignore[method-assign, assignment] # noqa: SLF001 - no other seam

    async def receive(self, stream: ReadWriteCloser, address: Multiaddr) -> None:
        """Take in a connection, and stay until it is closed; libp2p closes the socket at the end of this.

        :param address: where we listen.
        """
        remote = stream.get_remote_address()
        source = source_of(remote[0] if remote else None)
        if not self._has_room(source):
            log.debug("connection refused: too many", source=source)
            return
        connection = await self._shake_hands(stream, address, source)
        if connection is None:
            return
        if not self._has_room(source):  # others were quicker
            log.debug("connection closed: too many", source=source)
            await connection.close()
            return
        self._inside[source] += 1
        try:
            await connection.event_closed.wait()
        finally:
            self._inside[source] -= 1
            self._inside += Counter()  # forgets the zeros

    def _has_room(self, source: str) -> bool:
        return self._inside.total() < MAX_INBOUND and (is_loopback(source) or self._inside[source] < MAX_INBOUND_PER_SOURCE)

    async def _shake_hands(self, stream: ReadWriteCloser, address: Multiaddr, source: str) -> Yamux | None:
        leaving = self._lobby.enter(stream, source)
        try:
            if leaving is not None:
                # to be closed and not cancelled: cancelled, libp2p would never stop to count it
                await leaving.close()
            connection = await self._network.upgrade_inbound_raw_conn(RawConnection(stream, initiator=False), address)
        except Exception as error:  # noqa: BLE001 - whatever a peer can provoke must stay with that peer's connection
            log.debug("no handshake", source=source, reason=repr(error))
            return None
        finally:
            self._lobby.leave(stream, source)
        if not isinstance(connection, Yamux):
            raise TypeError(f"libp2p's connection is a {type(connection).__name__}")
        return connection


def guard_handshakes(upgrader: TransportUpgrader, gate: Gate, blame: Blame) -> None:
    """Hang up on whom the gate does not admit, once the handshake has shown who it is and before anything else is said.

    Later, in ``add_conn``, libp2p would already count the connection, and never stop to. Nor would it where a handshake is
    cancelled from outside, so each has a deadline of its own. The others' muxers learn where to tell what their peers do
    wrong.
    """
    secure, multiplex = upgrader.upgrade_security, upgrader.upgrade_connection

    async def upgrade_security(connection: IRawConnection, is_initiator: bool, peer_id: ID | None = None) -> ISecureConn:
        try:
            with trio.fail_after(HANDSHAKE_SECONDS):
                secured = await secure(connection, is_initiator, peer_id)
        except trio.TooSlowError:
            raise SecurityUpgradeFailure(f"no handshake within {HANDSHAKE_SECONDS:g} s") from None
        if not gate.admits(str(secured.get_remote_peer())):
            raise SecurityUpgradeFailure("the peer is banned, denied or not among those allowed")  # libp2p closes it
        return secured

    async def upgrade_connection(connection: ISecureConn, peer_id: ID) -> IMuxedConn:
        muxed = await multiplex(connection, peer_id)
        if isinstance(muxed, SafeYamux):
            muxed.blame = functools.partial(blame, str(peer_id))
        return muxed

    upgrader.upgrade_connection = upgrade_connection  # type: ignore[method-assign, assignment] # as below
    upgrader.upgrade_security = upgrade_security  # type: ignore[method-assign, assignment] # it has no other seam
