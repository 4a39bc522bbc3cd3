"""Sync: exchanges with peers, when a connection is made and again and again. It carries correctness."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.id import ID

from espeer.errors import EspeerError
from espeer.log import get_logger
from espeer.p2p.door import Counters, Door
from espeer.p2p.exchange import Exchange, Hello
from espeer.p2p.host import Node
from espeer.p2p.links import Links
from espeer.p2p.wire import Frames

OPEN_SECONDS: Final = 10.0
"""How long a peer may take to agree on the protocol."""
EXCHANGE_SECONDS: Final = 600.0
"""How long a whole exchange may take; the next one goes on where it ended."""
PART_SECONDS: Final = 0.3
"""How long ending a stream may take, when we are being cancelled, too."""
MAX_INBOUND: Final = 8
"""How many exchanges that peers began may run at a time; each may hold two lists of ids."""
MAX_INBOUND_PER_PEER: Final = 2

log = get_logger(__name__)


class Sync:
    """Keeps this replica and those of the connected peers alike.

    :param network: name of the network, part of the protocol id.
    :param now_ms: our clock, milliseconds since the Unix epoch.
    :param interval: average seconds between exchanges with a random peer.
    """

    def __init__(
        self,
        *,
        network: str,
        types: Sequence[str],
        door: Door,
        links: Links,
        now_ms: Callable[[], int],
        rng: random.Random,
        interval: float,
        counters: Counters,
    ) -> None:
        self.protocol: Final = TProtocol(f"/espeer/1/{network}/sync/1")
        self._types = tuple(sorted(types))
        self._door = door
        self._links = links
        self._now_ms = now_ms
        self._rng = rng
        self._interval = interval
        self._counters = counters
        self._due: set[str] = set()
        self._wake = trio.Event()
        self._outbound: set[str] = set()
        self._inbound: Counter[str] = Counter()

    def request(self, peer_id: str) -> None:
        """Have an exchange with a connected peer soon."""
        self._due.add(peer_id)
        self._wake.set()

    async def run(self, node: Node, *, task_status: trio.TaskStatus[None]) -> None:
        """Exchange until cancelled; started once peers can begin exchanges."""
        self._inbound.clear()
        self._outbound.clear()
        node.host.set_stream_handler(self.protocol, self._respond)
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._repair)
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                for peer_id in self._due - self._outbound:
                    self._outbound.add(peer_id)
                    nursery.start_soon(self._initiate, node, peer_id)
                self._due.clear()

    async def _repair(self) -> None:
        while True:
            await trio.sleep(self._interval * self._rng.uniform(0.5, 1.5))
            if peers := sorted(self._links.up):
                self.request(self._rng.choice(peers))

    async def _initiate(self, node: Node, peer_id: str) -> None:
        try:
            with trio.fail_after(OPEN_SECONDS):  # a peer with too many open streams makes it wait for ever
                stream = await node.host.new_stream(ID.from_string(peer_id), [self.protocol])
            await self._exchange(stream, Exchange.initiate)
        except (BaseLibp2pError, trio.TooSlowError) as error:
            log.debug("no sync", peer=peer_id, reason=repr(error))
        except Exception:  # a fault of the door, or of libp2p, that must not end the others' exchanges
            log.exception("sync failed", peer=peer_id)
        finally:
            self._outbound.discard(peer_id)

    async def _respond(self, stream: INetStream) -> None:
        peer_id = str(stream.muxed_conn.peer_id)
        if self._inbound.total() >= MAX_INBOUND or self._inbound[peer_id] >= MAX_INBOUND_PER_PEER:
            await stream.reset()
            return
        self._inbound[peer_id] += 1
        try:
            await self._exchange(stream, Exchange.respond)
        finally:
            self._inbound[peer_id] -= 1
            self._inbound += Counter()  # forgets the zeros

    async def _exchange(self, stream: INetStream, side: Callable[[Exchange], Awaitable[None]]) -> None:
        peer_id = str(stream.muxed_conn.peer_id)
        exchange = Exchange(
            Frames(stream),
            self._door,
            Hello(self._types),
            self._now_ms,
            lambda _: None,
            self._counters,
        )
        done = False
        try:
            with trio.move_on_after(EXCHANGE_SECONDS):
                await side(exchange)
                done = True
        except EspeerError as error:
            log.info("sync broken off", peer=peer_id, reason=str(error))
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(PART_SECONDS):
                await (stream.close() if done else stream.reset())
