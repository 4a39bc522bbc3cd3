"""A simulated host: what :class:`espeer.p2p.host.Node` needs of libp2p's host and network, over links in memory."""

import heapq
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import trio
from libp2p.abc import INotifee
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID

from espeer.errors import NetworkError
from espeer.p2p.gate import Gate
from espeer.p2p.host import MAX_CONNECTIONS, Watch
from espeer.p2p.identity import Identity
from espeer.sim.virtual.gossip import Pubsub
from espeer.sim.virtual.link import End, Link, Stream, pair

if TYPE_CHECKING:
    from espeer.sim.virtual.network import Network

PORT: Final = 4001
_HANDSHAKE: Final = 700
"""Bytes that each side sends until a connection stands: TCP, Noise, the muxer, and libp2p's identify."""
_SELECT: Final = 40
"""Bytes that each side sends to agree on a protocol, without its name."""
_DIAL_TRIPS: Final = 6
"""Round trips until a connection stands: TCP, Noise, and two each to agree on Noise and on the muxer."""

Handler = Callable[[Stream], Awaitable[None]]


class Host:
    """A host.

    :param nursery: where it answers.
    :ivar name: its peer id.
    :ivar bytes_sent: and ``bytes_received``, ``control_sent`` of these for the upkeep of the gossip.
    :ivar links: by the other's name.
    """

    def __init__(self, network: "Network", identity: Identity, gate: Gate, watch: Watch, nursery: trio.Nursery) -> None:
        self.network: Final = network
        self.name: Final = identity.peer_id
        self.id: Final = ID.from_string(identity.peer_id)
        number = int.from_bytes(identity.public[:3], "big")
        self.address: Final = (f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", PORT)
        self.links: Final[dict[str, Link]] = {}
        self.bytes_sent = self.bytes_received = self.control_sent = 0
        self.transport_manager: Final = self
        self.rng: Final = random.Random(network.rng.random())  # noqa: S311 - nothing secret
        self.pubsub: Final = Pubsub(self, identity, watch)
        self._free = 0.0
        self._gate = gate
        self._nursery = nursery
        self._handlers: dict[TProtocol, Handler] = {}
        self._notifees: list[Any] = []  # INotifee, told of what stands in for libp2p's network and connections

    def sent(self, size: int, receiver: "Host", *, control: bool) -> None:
        """Count what was sent."""
        self.bytes_sent += size
        self.control_sent += size if control else 0
        receiver.bytes_received += size

    def attend(self, share: float, call: Callable[[], object] = lambda: None) -> None:
        """Deal with a gossip message, one after the other as an event loop does, on a core that is free; then call something.

        :param share: of :attr:`Air.hop_ms`.
        """
        cores = self.network.cores
        began = max(trio.current_time(), self._free, cores[0] if cores else 0.0)
        self._free = began + share * self.network.air.hop_ms / 1000
        if cores:
            heapq.heapreplace(cores, self._free)
        self.network.timetable.at(self._free, call)

    # -- as libp2p's host

    def get_id(self) -> ID:
        """Who it is."""
        return self.id

    def get_addrs(self) -> list[str]:
        """Where others reach it."""
        where, port = self.address
        return [f"/ip4/{where}/tcp/{port}/p2p/{self.name}"]

    def set_stream_handler(self, protocol: TProtocol, handler: Handler) -> None:
        """Have streams of a protocol answered."""
        self._handlers[protocol] = handler

    async def new_stream(self, peer: ID, protocols: Sequence[TProtocol]) -> Stream:
        """Open a stream: a round trip to agree on the protocol.

        :raises NetworkError: there is no connection, or the other does not speak it.
        """
        link = self.links.get(str(peer))
        if link is None:
            raise NetworkError("there is no connection")
        other, protocol = link.other(self), protocols[0]
        await trio.sleep(self._round_trip(link, _SELECT + len(protocol)))
        handler = other._handlers.get(protocol)  # noqa: SLF001 - of its own class
        if not link.up or handler is None:
            raise NetworkError("the connection is lost" if handler else "protocol not supported")
        here, there = pair(link, self)
        other._nursery.start_soon(handler, there)  # noqa: SLF001 - as above
        return here

    async def disconnect(self, peer: ID) -> None:
        """End the connection to a peer."""
        link = self.links.get(str(peer))
        if link is not None:
            self.network.cut(link)

    # -- as libp2p's network

    def register_notifee(self, notifee: INotifee) -> None:
        """Tell somebody of connections from now on."""
        self._notifees.append(notifee)

    def add_transport(self, transport: object) -> None:
        """Take no other transport: there is one way to each host."""

    @property
    def listeners(self) -> dict[str, object]:
        """None that has to be looked at."""
        return {}

    def get_connections(self, peer: ID | None = None) -> list[End]:
        """The connections, or those to a peer."""
        return [link.end(self) for name, link in self.links.items() if peer is None or name == str(peer)]

    async def dial_addr(self, address: object, peer: ID) -> None:  # noqa: ARG002 - a host has one address
        """Connect.

        :raises NetworkError: there is no way to it, it has no room, or does not admit us.
        """
        name = str(peer)
        if name in self.links:
            return
        latency = self.network.air.latency()
        await trio.sleep(2 * _DIAL_TRIPS * self.network.air.takes(latency, _HANDSHAKE // _DIAL_TRIPS))
        other = self.network.reachable(self, name)
        if other is None:
            raise NetworkError("nobody answers")
        if name in self.links:  # it dialled us meanwhile
            return
        if max(len(self.links), len(other.links)) >= MAX_CONNECTIONS or not other._gate.admits(self.name):  # noqa: SLF001 - as above
            raise NetworkError("the connection was closed")
        link = Link(self, other, latency)
        for host in (self, other):
            host.sent(_HANDSHAKE, link.other(host), control=False)
            host.linked(link)

    def linked(self, link: Link) -> None:
        """Take note of a connection."""
        self.links[link.other(self).name] = link
        for notifee in self._notifees:
            self._nursery.start_soon(notifee.connected, self, link.end(self))
        self.pubsub.linked(link)

    def unlinked(self, link: Link) -> None:
        """Take note of its end."""
        other = link.other(self)
        if self.links.pop(other.name, None) is None:
            return
        self.pubsub.unlinked(other.name)
        for notifee in self._notifees:
            self._nursery.start_soon(notifee.disconnected, self, link.end(self))

    def _round_trip(self, link: Link, size: int) -> float:
        return link.seconds(self, size) + link.seconds(link.other(self), size)
