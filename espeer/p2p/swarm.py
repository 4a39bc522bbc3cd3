"""The network's face to the node: a libp2p node that gossips and syncs for a replica, and is kept alive."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio
from libp2p.peer.id import ID

from espeer.errors import EspeerError
from espeer.log import get_logger
from espeer.p2p.addresses import parse_listen, parse_peer, parse_peer_id
from espeer.p2p.dialer import Dialer
from espeer.p2p.door import Counters, Door
from espeer.p2p.gate import Gate
from espeer.p2p.gossip import Gossip
from espeer.p2p.hello import Greeter
from espeer.p2p.host import Node, open_node
from espeer.p2p.identity import Identity
from espeer.p2p.links import Links, LinksNotifee
from espeer.p2p.sync import Sync
from espeer.records import SignedRecord

__all__ = ["Counters", "Door", "PeerView", "Swarm"]

FIRST_RESTART: Final = 1.0
LAST_RESTART: Final = 60.0

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PeerView:
    """A connected peer.

    :ivar addresses: where it listens, or else where its connection comes from.
    :ivar types: the types of our network that it subscribes to.
    :ivar mesh: the types in whose gossip mesh we have it.
    """

    peer_id: str
    addresses: tuple[str, ...]
    types: tuple[str, ...]
    mesh: tuple[str, ...]


class Swarm:
    """Shares a replica's records with peers.

    :param door: the replica.
    :param network: name of the network; nodes of other networks are not talked to.
    :param types: the types that the replica holds.
    :param listen: multiaddrs to listen on.
    :param bootstrap: multiaddrs, with ``/p2p/PEERID``, of peers to stay connected to.
    :param clock: milliseconds since the Unix epoch.
    :param repair_interval: average seconds between syncs with a random peer.
    :param allow: peer ids; if there are any, only these peers are talked to.
    :param deny: peer ids of peers that are never talked to.
    :raises BadAddress: one of the addresses or peer ids cannot be used.
    """

    def __init__(
        self,
        identity: Identity,
        door: Door,
        *,
        network: str,
        types: Sequence[str],
        listen: Sequence[str],
        bootstrap: Sequence[str],
        clock: Callable[[], int],
        rng: random.Random,
        repair_interval: float = 20.0,
        allow: Sequence[str] = (),
        deny: Sequence[str] = (),
    ) -> None:
        self.counters = Counters()
        self._identity = identity
        self._listen = [parse_listen(address) for address in listen]
        self._rng = rng
        self._node: Node | None = None
        self._links = Links()
        self._gate = Gate(allow=map(parse_peer_id, allow), deny=map(parse_peer_id, deny))
        self._dialer = Dialer(identity.peer_id, [parse_peer(address) for address in bootstrap], self._links, rng)
        self._greeter = Greeter(
            network=network, links=self._links, dialer=self._dialer, rng=rng, interval=repair_interval, blame=self._blame
        )
        self._gossip = Gossip(network=network, types=types, door=door, now_ms=clock, counters=self.counters)
        self._sync = Sync(
            network=network,
            types=types,
            door=door,
            links=self._links,
            now_ms=clock,
            rng=rng,
            interval=repair_interval,
            counters=self.counters,
        )

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
                failure = _leaf(group)
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
        """Where peers reach us, with ``/p2p/PEERID``."""
        return [] if self._node is None else [str(address) for address in self._node.host.get_addrs()]

    async def _session(self, listening: Callable[[], None]) -> None:
        try:
            async with open_node(self._identity, self._listen, accepts=self._gossip.accepts, gate=self._gate) as node:
                node.network.register_notifee(LinksNotifee(self._links, self._dialled))
                self._node = node
                async with trio.open_nursery() as nursery:
                    await nursery.start(self._greeter.run, node)
                    await nursery.start(self._gossip.run, node)
                    await nursery.start(self._sync.run, node)
                    nursery.start_soon(self._dialer.run, node.dial)
                    listening()
        finally:
            self._node = None
            self._links.clear()

    def _dialled(self, peer_id: str) -> None:
        self._greeter.request(peer_id)
        self._sync.request(peer_id)

    def _blame(self, peer_id: str, error: EspeerError) -> None:
        log.info("a peer broke a rule", peer=peer_id, reason=str(error))

    def _view(self, node: Node, peer_id: str) -> PeerView:
        addresses = [str(address) for address in self._dialer.addresses(peer_id)]
        if not addresses:
            connections = node.network.get_connections(ID.from_string(peer_id))
            addresses = [str(address) for connection in connections for address in connection.get_transport_addresses()]
        topics = {topic for topic, peers in node.pubsub.peer_topics.items() if peer_id in map(str, peers)}
        mesh = {topic for topic, peers in node.gossipsub.mesh.items() if peer_id in map(str, peers)}
        return PeerView(peer_id, tuple(addresses), self._types_of(topics), self._types_of(mesh))

    def _types_of(self, topics: set[str]) -> tuple[str, ...]:
        return tuple(sorted(filter(None, map(self._gossip.type_of, topics))))


def _leaf(error: BaseException) -> BaseException:
    """The first error in a group; one of ours if there is one."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_leaf(inner) for inner in error.exceptions]
    return next((leaf for leaf in leaves if isinstance(leaf, EspeerError)), leaves[0])
