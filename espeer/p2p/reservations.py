"""Being reachable through relays: slots reserved at them, refreshed, and the connections that come in through them."""

import operator
import random
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

import trio
from libp2p.abc import INetStream
from libp2p.connection_types import ConnectionType
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.peer.id import ID
from libp2p.rcmgr import Direction
from libp2p.relay.circuit_v2.pb.circuit_pb2 import HopMessage, Status, StopMessage
from multiaddr import Multiaddr  # type: ignore[import-untyped] # ships no types

from espeer.errors import NetworkError
from espeer.log import get_logger
from espeer.p2p.addresses import PeerAddress, usable
from espeer.p2p.circuit import HOP, STOP, Circuit, peer_id_of, receive, send, status_name
from espeer.p2p.hardening import guard
from espeer.p2p.host import Node
from espeer.p2p.links import Links
from espeer.p2p.streams import reset

REFRESH_SECONDS: Final = 300.0
"""The most seconds between two refreshes: few enough for a relay whose clock is not ours."""
FIRST_DELAY: Final = 1.0
LAST_DELAY: Final = 60.0
"""The most seconds between two tries at a relay that refuses."""
FOUND: Final = 2
"""How many relays a node looks for that was told to find some itself."""
MAX_INBOUND: Final = 16
"""How many circuits that others opened may stand at a time: half of the streams that a relay may have open to us."""
LOOK_SECONDS: Final = 30.0
"""How often a node looks for relays when its peers stay the same."""
_REFRESH_SHARE: Final = 0.75
_LEAST_REFRESH: Final = 5.0

log = get_logger(__name__)


class Reservations:
    """Keeps slots at relays.

    :param relays: addresses of relays to hold a slot at for ever; somebody else keeps the connections to them.
    :param find: whether to ask peers that we are connected to for slots, too, until :data:`FOUND` gave one.
    """

    def __init__(
        self,
        own: str,
        relays: Sequence[PeerAddress],
        links: Links,
        rng: random.Random,
        *,
        find: bool,
    ) -> None:
        self._own = own
        self._relays = {relay.peer_id: relay for relay in reversed(relays)}  # the first address of each
        self._links = links
        self._rng = rng
        self._find = find
        self._held: dict[str, PeerAddress] = {}
        self._asked: set[str] = set()
        self._inbound = 0
        self._first = trio.Event()

    async def ready(self) -> None:
        """Wait for the first slot."""
        await self._first.wait()

    def addresses(self) -> list[PeerAddress]:
        """Where we are reached through relays now."""
        return [relay.through(self._own) for relay in self._held.values()]

    async def run(self, node: Node) -> None:
        """Keep the slots until cancelled."""
        self._held.clear()
        self._asked.clear()
        self._inbound = 0
        node.host.set_stream_handler(STOP, guard(lambda stream: self._accept(node, stream)))
        async with trio.open_nursery() as nursery:
            for relay in self._relays.values():
                nursery.start_soon(self._keep, node, relay)
            if self._find:
                await self._look(node, nursery)

    async def _keep(self, node: Node, relay: PeerAddress) -> None:
        delay, told = FIRST_DELAY, ""
        while True:
            await self._links.wait_for(lambda up: relay.peer_id in up)
            held, reason = await self._hold(node, relay)
            delay = FIRST_DELAY if held else min(2 * delay, LAST_DELAY)
            if reason != told:
                log.warning("no slot at the relay; trying on", relay=str(relay), reason=reason)
            told = reason
            await trio.sleep(delay * self._rng.uniform(0.5, 1))

    async def _look(self, node: Node, nursery: trio.Nursery) -> None:
        """Ask each peer that we dialled once per connection, while there is need."""
        tried: set[str] = set()
        while True:
            up = self._links.up
            tried &= up
            for peer_id in sorted(up - tried - self._relays.keys()):
                if len(self._held) >= FOUND:
                    break
                tried.add(peer_id)
                if relay := _dialled(node, peer_id):
                    await nursery.start(self._hold, node, relay)
            with trio.move_on_after(LOOK_SECONDS):
                await self._links.wait_for(partial(operator.ne, up))

    async def _hold(
        self, node: Node, relay: PeerAddress, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> tuple[bool, str]:
        """Hold a slot for as long as the relay is there and gives it; return whether there was one, and why it ended.

        Started once the relay has answered.
        """
        held = False
        try:
            while True:
                seconds = await self._reserve(node, relay.peer_id)
                if not held:
                    held = True
                    self._held[relay.peer_id] = relay
                    log.info("reachable through a relay", address=str(relay.through(self._own)))
                    self._first.set()
                    task_status.started()
                with trio.move_on_after(seconds):
                    await self._links.wait_for(lambda up: relay.peer_id not in up)
                    return held, "the connection to it is lost"
        except NetworkError as error:
            return held, str(error)
        finally:
            self._held.pop(relay.peer_id, None)
            self._asked.discard(relay.peer_id)
            if not held:
                task_status.started()

    async def _reserve(self, node: Node, relay: str) -> float:
        """Take or refresh a slot; return in how many seconds to refresh it.

        :raises NetworkError: the relay does not answer, or refuses.
        """
        self._asked.add(relay)
        stream = await node.open_stream(relay, HOP)
        try:
            await send(stream, HopMessage(type=HopMessage.RESERVE))
            answer = await receive(stream, HopMessage)
        finally:
            await reset(stream)
        if answer.type != HopMessage.STATUS or answer.status != Status.OK:
            raise NetworkError(f"it refuses: {status_name(answer.status)}")
        left = answer.reservation.expire - time.time()
        return min(max(_REFRESH_SHARE * left, _LEAST_REFRESH), REFRESH_SECONDS)

    async def _accept(self, node: Node, stream: INetStream) -> None:
        """Take in a circuit that a relay of ours opens to us."""
        relay = stream.muxed_conn.peer_id
        if str(relay) not in self._asked or self._inbound >= MAX_INBOUND:
            await reset(stream)
            return
        self._inbound += 1
        try:
            request = await receive(stream, StopMessage)
            if request.type != StopMessage.CONNECT:
                await send(stream, _status(Status.UNEXPECTED_MESSAGE))
                return
            if not node.gate.admits(str(peer_id_of(request.peer))):  # what it claims; who it is shows its handshake
                await send(stream, _status(Status.PERMISSION_DENIED))
                return
            await send(stream, _status(Status.OK))
            circuit = Circuit(stream, relay, initiator=False)
            muxed = await node.network.upgrade_inbound_raw_conn(circuit, Multiaddr(f"/p2p/{relay}/p2p-circuit"))
            for connection in node.network.get_connections(muxed.peer_id):
                if isinstance(connection, SwarmConn) and connection.muxed_conn is muxed:
                    await connection.event_closed.wait()
        finally:
            self._inbound -= 1
            await reset(stream)


def _status(status: Status.ValueType) -> StopMessage:
    return StopMessage(type=StopMessage.STATUS, status=status)


def _dialled(node: Node, peer_id: str) -> PeerAddress | None:
    """The address at which we reached the peer; None if it came to us, or through a relay."""
    for connection in node.network.get_connections(ID.from_string(peer_id)):
        outbound = isinstance(connection, SwarmConn) and connection.direction is Direction.OUTBOUND
        if outbound and connection.get_connection_type() is not ConnectionType.RELAYED:
            for address in usable(f"{address}/p2p/{peer_id}" for address in connection.get_transport_addresses()):
                return address
    return None
