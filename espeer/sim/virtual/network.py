"""An in-memory network: hosts that dial each other, links of different latency, loss, and partitions."""

import math
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

import trio
from multiaddr import Multiaddr  # type: ignore[import-untyped] # ships no types

from espeer.p2p.gate import Gate
from espeer.p2p.host import Node, Watch
from espeer.p2p.identity import Identity
from espeer.sim.virtual.host import Host
from espeer.sim.virtual.link import Link
from espeer.sim.virtual.timetable import Timetable
from espeer.tasks import background

if TYPE_CHECKING:
    from libp2p.abc import IHost
    from libp2p.network.swarm import Swarm

    from espeer.p2p.pubsub import SafePubsub
    from espeer.p2p.router import SafeGossipSub

HEARTBEAT: Final = 1.0
"""Seconds between two rounds of the gossip's upkeep, as in :class:`espeer.p2p.router.SafeGossipSub`."""


@dataclass(slots=True)
class Air:
    """What is between the hosts.

    :ivar latency_ms: median milliseconds one way.
    :ivar spread: sigma of the latency's logarithm, from one link to another.
    :ivar loss: share of what is sent that is lost.
    :ivar mbit: megabits a second of a link.
    :ivar hop_ms: milliseconds that a host takes to deal with what arrived.
    """

    latency_ms: float
    spread: float
    loss: float
    mbit: float
    hop_ms: float
    rng: random.Random

    def latency(self) -> float:
        """Draw the latency of a new link, in seconds."""
        return self.latency_ms / 1000 * math.exp(self.spread * self.rng.gauss(0, 1))

    def loses(self) -> bool:
        """Whether the next thing that is sent is lost."""
        return self.loss > 0 and self.rng.random() < self.loss

    def way(self, latency: float, size: int) -> float:
        """Return how many seconds after it was sent something arrives."""
        return latency + size * 8e-6 / self.mbit

    def takes(self, latency: float, size: int) -> float:
        """Return how many seconds after it was sent something has been dealt with, by a host with nothing else to do."""
        return self.way(latency, size) + self.hop_ms / 1000


@dataclass(slots=True)
class Network:
    """The hosts by name (peer id).

    :ivar cores: when each core of the machine that all hosts share has done what it is at; empty for a machine for each.
    """

    air: Air
    rng: random.Random
    cores: list[float]
    hosts: dict[str, Host] = field(default_factory=dict)
    timetable: Timetable = field(default_factory=Timetable)
    _apart: Callable[[Host, Host], bool] = field(default=lambda *_: False)

    async def run(self) -> None:
        """Bring things over, and keep the gossip's meshes, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.timetable.run)
            while True:
                await trio.sleep(HEARTBEAT)
                for host in list(self.hosts.values()):
                    host.pubsub.beat()

    @asynccontextmanager
    async def enter(
        self,
        identity: Identity,
        listen: Sequence[Multiaddr],  # noqa: ARG002 - a host has one address, which is drawn
        /,
        *,
        gate: Gate,
        watch: Watch,
        announce: Sequence[Multiaddr] = (),  # noqa: ARG002 - as above
        psk: bytes | None = None,  # noqa: ARG002 - there are no strangers here
    ) -> AsyncIterator[Node]:
        """Put a host into the network; see :class:`espeer.p2p.host.OpenNode`."""
        async with background() as nursery:
            host = Host(self, identity, gate, watch, nursery)
            self.hosts[host.name] = host
            try:
                yield Node(
                    cast("IHost", host),
                    cast("Swarm", host),
                    cast("SafePubsub", host.pubsub),
                    cast("SafeGossipSub", host.pubsub),
                    gate,
                )
            finally:
                self.hosts.pop(host.name, None)
                for link in list(host.links.values()):
                    self.cut(link)

    def reachable(self, dialler: Host, name: str) -> Host | None:
        """Return the host of that name, if there is a way to it."""
        host = self.hosts.get(name)
        return None if host is None or self._apart(dialler, host) else host

    def cut(self, link: Link) -> None:
        """End a connection."""
        link.cut()
        for host in (link.dialler, link.listener):
            host.unlinked(link)

    def part(self, apart: Callable[[Host, Host], bool]) -> None:
        """Have no way between hosts for which this is so, and end the connections between them."""
        self._apart = apart
        for host in list(self.hosts.values()):
            for link in [link for link in host.links.values() if apart(link.dialler, link.listener)]:
                self.cut(link)

    def heal(self) -> None:
        """Have a way between all hosts again."""
        self._apart = lambda *_: False
