"""The network's face to the node: a libp2p node that gossips and syncs for a replica, and is kept alive."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import trio
from libp2p.peer.id import ID
from multiaddr.utils import get_network_addrs  # type: ignore[import-untyped] # ships no types

from espeer.log import get_logger
from espeer.p2p.acquaintances import Acquaintances
from espeer.p2p.addressbook import keep, load
from espeer.p2p.addresses import (
    FIND_RELAYS,
    concrete,
    parse_announced,
    parse_listen,
    parse_peer,
    parse_peer_id,
    parse_relay,
)
from espeer.p2p.bans import Bans
from espeer.p2p.circuit import CircuitTransport
from espeer.p2p.dialer import Dialer
from espeer.p2p.door import Counters, Door
from espeer.p2p.gate import Gate
from espeer.p2p.gossip import Gossip
from espeer.p2p.hello import Greeter
from espeer.p2p.host import Node, OpenNode, Watch, open_node
from espeer.p2p.identity import Identity
from espeer.p2p.links import Links, LinksNotifee
from espeer.p2p.local import Local
from espeer.p2p.mdns import Mdns
from espeer.p2p.others import Others
from espeer.p2p.relay import Relay
from espeer.p2p.reservations import Reservations
from espeer.p2p.slots import Limits
from espeer.p2p.sync import Sync
from espeer.records import SignedRecord
from espeer.tasks import cause

__all__ = ["Counters", "Door", "PeerView", "Swarm", "SwarmSettings"]

FIRST_RESTART: Final = 1.0
LAST_RESTART: Final = 60.0

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PeerView:
    """A connected peer.

    :ivar addresses: where it listens, or else where its connection comes from.
    :ivar types: the types of our network that it subscribes to.
    :ivar mesh: the types in whose gossip mesh we have it.
    :ivar score: what it did wrong of late, see :mod:`espeer.p2p.trust`; 0 is good, at 100 it is banned.
    """

    peer_id: str
    addresses: tuple[str, ...]
    types: tuple[str, ...]
    mesh: tuple[str, ...]
    score: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SwarmSettings:
    """What is set about the network.

    :ivar network: its name; nodes of other networks are not talked to.
    :ivar types: the types that the replica holds.
    :ivar listen: multiaddrs to listen on.
    :ivar announce: multiaddrs that others are told instead.
    :ivar bootstrap: multiaddrs, with ``/p2p/PEERID``, of peers to stay connected to.
    :ivar repair_interval: average seconds between syncs with a random peer.
    :ivar allow: peer ids; if there are any, only these peers are talked to.
    :ivar deny: peer ids of peers that are never talked to.
    :ivar psk: the key of a private network: only nodes that have it can connect. Secret.
    :ivar met_file: where the peers that we were connected to are kept from one start to the next.
    :ivar relays: multiaddrs, with ``/p2p/PEERID``, of relays to be reached through; :data:`FIND_RELAYS` among them has it
        ask the peers that it dials, too.
    :ivar relay_service: what to give others as their relay, if anything.
    :ivar mdns: whether to look for peers on the LAN, and to be found there.
    :ivar servers: multiaddrs, with ``/p2p/PEERID``, of a client's servers: it talks to nobody else, and holds no types.
    :ivar accept: take what clients submit.
    """

    network: str
    types: Sequence[str]
    listen: Sequence[str]
    announce: Sequence[str] = ()
    bootstrap: Sequence[str] = ()
    repair_interval: float = 20.0
    allow: Sequence[str] = ()
    deny: Sequence[str] = ()
    psk: bytes | None = field(default=None, repr=False)
    met_file: Path | None = None
    relays: Sequence[str] = ()
    relay_service: Limits | None = None
    mdns: bool = False
    servers: Sequence[str] = ()
    accept: bool = False


class Swarm:
    """Shares a replica's records with peers.

    :param door: the replica.
    :param clock: milliseconds since the Unix epoch.
    :param linked: called with a peer's id and whether it was connected (or went).
    :param enter: what runs the libp2p node.
    :raises BadAddress: one of the addresses or peer ids cannot be used.
    """

    def __init__(
        self,
        identity: Identity,
        door: Door,
        settings: SwarmSettings,
        *,
        clock: Callable[[], int],
        rng: random.Random,
        linked: Callable[[str, bool], None] = lambda *_: None,
        enter: OpenNode = open_node,
    ) -> None:
        self.counters = Counters()
        self._enter = enter
        self._identity = identity
        self._psk = settings.psk
        self._listen = [parse_listen(address) for address in settings.listen]
        self._announce = [parse_announced(address) for address in settings.announce]
        self._rng = rng
        self._node: Node | None = None
        self._links = Links(linked)
        self._bans = Bans(self.counters)
        self._gate = Gate(
            allow=map(parse_peer_id, settings.allow), deny=map(parse_peer_id, settings.deny), banned=self._bans.banned
        )
        self._local = local = Local(
            network=settings.network,
            types=tuple(settings.types),
            door=door,
            links=self._links,
            now_ms=clock,
            rng=rng,
            counters=self.counters,
            blame=self._bans.blame,
        )
        relays = [parse_relay(address) for address in settings.relays if address != FIND_RELAYS]
        self._reservations = Reservations(identity.peer_id, relays, self._links, rng, find=FIND_RELAYS in settings.relays)
        self._relay = Relay(self.counters, self._bans.blame, settings.relay_service) if settings.relay_service else None
        self._servers = [parse_peer(address) for address in settings.servers]
        kept = [*map(parse_peer, settings.bootstrap), *self._servers, *relays]
        self._met_file = settings.met_file
        self._met = load(settings.met_file) if settings.met_file else Acquaintances()
        self._dialer = Dialer(identity.peer_id, kept, self._links, rng, met=self._met, now_ms=clock)
        learn = partial(self._dialer.learn, source="the LAN")
        self._mdns = Mdns(identity.peer_id, settings.network, learn, rng, psk=settings.psk) if settings.mdns else None
        self._greeter = Greeter(local, dialer=self._dialer, interval=settings.repair_interval, reached=self._reached)
        self._gossip = Gossip(local)
        self._sync = Sync(local, interval=settings.repair_interval, sharing=self._sharing)
        servers = [address.peer_id for address in self._servers]
        self.others = Others(local, servers=servers, accept=settings.accept, taken=self.publish)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled; started once it listens. If libp2p fails by itself it is started again, with backoff.

        :raises AddressInUse: cannot listen there (at the first start).
        """
        delay = FIRST_RESTART
        started = False

        def listening() -> None:
            nonlocal started
            if not started:
                task_status.started()
            started = True

        while True:
            began = trio.current_time()
            failure: BaseException = RuntimeError("libp2p ended")
            try:
                await self._session(listening)
            except* Exception as group:  # noqa: BLE001 - whatever libp2p fails with, the node goes on
                failure = cause(group)
            if not started:  # what fails at once would fail again
                raise failure
            if trio.current_time() - began > LAST_RESTART:
                delay = FIRST_RESTART
            log.error("the network part failed; starting it again", reason=repr(failure), seconds=delay)
            await trio.sleep(delay * self._rng.uniform(0.5, 1))
            delay = min(2 * delay, LAST_RESTART)

    def publish(self, records: Sequence[SignedRecord]) -> None:
        """Gossip records to the peers. Never waits; what there is no room for is dropped, for sync carries it."""
        self._gossip.publish(records)

    def peers(self) -> list[PeerView]:
        """The connected peers, by peer id."""
        return [] if self._node is None else [self._view(self._node, peer_id) for peer_id in sorted(self._links.up)]

    def addresses(self) -> list[str]:
        """Where peers reach us, with ``/p2p/PEERID``: an address of each interface if we listen on all."""
        if self._node is None:
            return []
        hosts = {"ip4": get_network_addrs(4), "ip6": get_network_addrs(6)}
        return [found for address in self._reached(self._node) for found in concrete(address, hosts)]

    async def relayed(self) -> list[str]:
        """Wait until peers reach us through a relay; return the addresses at which they do."""
        await self._reservations.ready()
        return [str(address) for address in self._reservations.addresses()]

    def _reached(self, node: Node) -> list[str]:
        return [str(address) for address in (*node.host.get_addrs(), *self._reservations.addresses())]

    async def _session(self, listening: Callable[[], None]) -> None:
        watch = Watch(
            accepts=self._gossip.accepts,
            subscribed=self._subscribed,
            judge=self._gossip.judge,
            blame=self._bans.blame,
            banned=self._bans.banned,
            score=self._bans.score,
        )
        try:
            async with self._enter(
                self._identity, self._listen, gate=self._gate, watch=watch, announce=self._announce, psk=self._psk
            ) as node:
                node.network.register_notifee(LinksNotifee(self._links, self._greeter.request))
                node.network.transport_manager.add_transport(CircuitTransport(node.network, node.open_stream, node.dial))
                if self._relay is not None:
                    self._relay.serve(node)
                self.others.serve(node)
                self._node = node
                async with trio.open_nursery() as nursery:
                    if not self._servers:
                        await nursery.start(self._greeter.run, node)
                        await nursery.start(self._gossip.run, node)
                        await nursery.start(self._sync.run, node)
                    nursery.start_soon(self._dialer.run, node.dial)
                    if self._met_file:
                        nursery.start_soon(keep, self._met_file, self._met)
                    nursery.start_soon(self._reservations.run, node)
                    if self._mdns is not None:
                        nursery.start_soon(self._mdns.run, node.listens)
                    nursery.start_soon(self._bans.run, node)
                    listening()
        finally:
            self._node = None
            self.others.leave()
            self._links.clear()

    def _sharing(self) -> set[str]:
        """The connected peers that hold a type that we hold; clients, for one, hold none."""
        return set().union(*map(self.others.subscribers, self._local.types))

    def _subscribed(self, peer_id: str, topic: str) -> None:
        if self._local.type_of(topic) in self._local.types:
            self._sync.subscribed(peer_id)

    def _view(self, node: Node, peer_id: str) -> PeerView:
        addresses = [str(address) for address in self._dialer.addresses(peer_id)]
        if not addresses:
            connections = node.network.get_connections(ID.from_string(peer_id))
            addresses = [str(address) for connection in connections for address in connection.get_transport_addresses()]
        topics = {topic for topic, peers in node.pubsub.peer_topics.items() if peer_id in map(str, peers)}
        mesh = {topic for topic, peers in node.gossipsub.mesh.items() if peer_id in map(str, peers)}
        score = round(self._bans.score(peer_id), 1)
        return PeerView(peer_id, tuple(addresses), self._types_of(topics), self._types_of(mesh), score)

    def _types_of(self, topics: set[str]) -> tuple[str, ...]:
        return tuple(sorted(filter(None, map(self._local.type_of, topics))))
