"""Keeps the node connected: to its bootstrap peers for ever, to peers it hears of for as long as they answer.

libp2p does not come back to a peer that is lost, so this does, with exponential backoff and jitter.
"""

import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

import trio

from espeer.errors import NetworkError
from espeer.log import get_logger
from espeer.p2p.addresses import PeerAddress
from espeer.p2p.links import Links

MAX_PEERS: Final = 16
"""How many peers besides the bootstrap peers we keep a connection to."""
FIRST_DELAY: Final = 1.0
"""Seconds before the second try."""
LAST_DELAY: Final = 60.0
"""The most seconds between two tries."""
STEADY: Final = 30.0
"""Seconds that a connection must last to count as a success, so that a peer that hangs up at once is not dialled at once."""
TRIES: Final = 8
"""After this many failures in a row a peer is forgotten, unless it is a bootstrap peer: about four minutes."""
MAX_KNOWN: Final = 256
MAX_ADDRESSES_PER_PEER: Final = 4

log = get_logger(__name__)


class Dialer:
    """Knows where peers listen and dials them.

    :param own: our peer id, which is never dialled.
    :param bootstrap: addresses that are all dialled at once and never given up.
    """

    def __init__(self, own: str, bootstrap: Sequence[PeerAddress], links: Links, rng: random.Random) -> None:
        self._own = own
        self._bootstrap = [address for address in dict.fromkeys(bootstrap) if address.peer_id != own]
        self._links = links
        self._rng = rng
        self._known: dict[str, list[PeerAddress]] = {}
        self._kept: set[str] = set()
        self._news = trio.Event()

    def addresses(self, peer_id: str) -> list[PeerAddress]:
        """Where the peer listens, as far as we know."""
        return list(self._known.get(peer_id, ()))

    def learn(self, addresses: Iterable[PeerAddress], *, source: str) -> None:
        """Note where peers listen.

        :param source: the peer that says so. About itself it is believed; about others it adds to what we know.
        """
        told: dict[str, list[PeerAddress]] = {}
        for address in addresses:
            told.setdefault(address.peer_id, []).append(address)
        for peer_id, where in told.items():
            old = [] if peer_id == source else self._known.get(peer_id, [])
            if peer_id == self._own or (peer_id not in self._known and len(self._known) >= MAX_KNOWN):
                continue
            self._known[peer_id] = list(dict.fromkeys([*old, *where]))[:MAX_ADDRESSES_PER_PEER]
        self._news.set()

    async def run(self, dial: Callable[[PeerAddress], Awaitable[None]]) -> None:
        """Keep connections until cancelled.

        :param dial: connects to an address, or raises NetworkError.
        """
        self._kept = {address.peer_id for address in self._bootstrap}
        async with trio.open_nursery() as nursery:
            for address in self._bootstrap:
                nursery.start_soon(self._keep, address.peer_id, [address], dial)
            room = MAX_PEERS + len(self._kept)
            while True:
                for peer_id in [peer_id for peer_id in self._known if peer_id not in self._kept][: room - len(self._kept)]:
                    self._kept.add(peer_id)
                    nursery.start_soon(self._keep, peer_id, None, dial)
                self._news = trio.Event()
                await self._news.wait()

    async def _keep(
        self, peer_id: str, bootstrap: list[PeerAddress] | None, dial: Callable[[PeerAddress], Awaitable[None]]
    ) -> None:
        delay, failures = FIRST_DELAY, 0
        while bootstrap or failures < TRIES:
            started = trio.current_time()
            error = None if peer_id in self._links.up else await self._reach(bootstrap or self.addresses(peer_id), dial)
            if error is None:
                failures = 0
                await self._links.wait_for(lambda up: peer_id not in up)
                if trio.current_time() - started >= STEADY:
                    delay = FIRST_DELAY
            else:
                failures += 1
                if bootstrap and failures == 1:
                    log.warning("bootstrap peer does not answer; trying on", reason=str(error))
            await trio.sleep(delay * self._rng.uniform(0.5, 1))
            delay = min(2 * delay, LAST_DELAY)
        self._known.pop(peer_id, None)
        self._kept.discard(peer_id)
        self._news.set()

    async def _reach(
        self, addresses: Sequence[PeerAddress], dial: Callable[[PeerAddress], Awaitable[None]]
    ) -> NetworkError | None:
        """Dial the addresses in turn; None once one answers, else the last error."""
        error = NetworkError("no address is known")
        for address in addresses:
            try:
                await dial(address)
            except NetworkError as failure:
                error = failure
            else:
                return None
        return error
