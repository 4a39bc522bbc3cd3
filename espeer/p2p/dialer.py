"""Keeps the node connected: to its bootstrap peers for ever, to peers it hears of for as long as they answer.

libp2p does not come back to a peer that is lost, so this does, with exponential backoff and jitter. Peers that we were
connected to once are tried again and again, with long rests, so that a network that lost all its bootstrap peers, or was cut
for an hour, is found again. What others say of third peers is tried a few times and then left alone for a while.
"""

import math
import operator
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from espeer.errors import NetworkError
from espeer.log import get_logger
from espeer.p2p.acquaintances import Acquaintances
from espeer.p2p.addresses import PeerAddress
from espeer.p2p.links import Links

MAX_PEERS: Final = 16
"""How many peers besides the bootstrap peers we keep a connection to."""
MIN_OWN: Final = 8
"""How many we dial even if more than :data:`MAX_PEERS` are connected: who comes to us may be of one mind."""
FIRST_DELAY: Final = 1.0
"""Seconds before the second try."""
LAST_DELAY: Final = 60.0
"""The most seconds between two tries."""
STEADY: Final = 30.0
"""Seconds that a connection must last to count as a success, so that a peer that hangs up at once is not dialled at once."""
TRIES: Final = 8
"""After this many failures in a row a peer that we know is left alone for :data:`REST`: about four minutes."""
FEW_TRIES: Final = 4
"""The same for a peer that we only heard of."""
REST: Final = 300.0
MAX_KNOWN: Final = 256
MAX_HEARD: Final = 64
"""How many peers one peer may tell us of."""
MAX_ADDRESSES_PER_PEER: Final = 4

Dial = Callable[[PeerAddress], Awaitable[None]]

log = get_logger(__name__)


@dataclass(slots=True)
class _Candidate:
    """A peer that may be dialled.

    :ivar source: who told of it.
    :ivar rests_until: not to be dialled before.
    """

    addresses: list[PeerAddress]
    source: str
    rests_until: float = -math.inf


class Dialer:
    """Knows where peers listen and dials them.

    :param own: our peer id, which is never dialled.
    :param bootstrap: addresses that are all dialled at once and never given up.
    :param met: the peers that we were connected to, in this life and before; it is kept up to date.
    :param now_ms: our clock, milliseconds since the Unix epoch.
    """

    def __init__(
        self,
        own: str,
        bootstrap: Sequence[PeerAddress],
        links: Links,
        rng: random.Random,
        *,
        met: Acquaintances,
        now_ms: Callable[[], int],
    ) -> None:
        self._own = own
        self._bootstrap = [address for address in dict.fromkeys(bootstrap) if address.peer_id != own]
        self._links = links
        self._rng = rng
        self._met = met
        self._now_ms = now_ms
        self._known = {peer_id: _Candidate(addresses, peer_id) for peer_id, addresses in met.best() if peer_id != own}
        self._kept: set[str] = set()
        self._news = trio.Event()

    def addresses(self, peer_id: str) -> list[PeerAddress]:
        """Where the peer listens, as far as we know."""
        found = self._known.get(peer_id)
        return list(found.addresses) if found else []

    def knows(self, address: PeerAddress) -> bool:
        """Whether we would dial the address already, for the peer itself or as a relay."""
        known = (other for candidate in self._known.values() for other in candidate.addresses)
        return any(address in {other, other.relay} for other in (*self._bootstrap, *known))

    def learn(self, addresses: Iterable[PeerAddress], *, source: str) -> None:
        """Note where peers listen.

        :param source: the peer that says so. About itself it is believed; about others it adds to what we know.
        """
        told: dict[str, list[PeerAddress]] = {}
        for address in addresses:
            told.setdefault(address.peer_id, []).append(address)
        for peer_id, where in told.items():
            known = self._known.get(peer_id)
            if peer_id == self._own or (known is None and not self._has_room(peer_id, source)):
                continue
            if known is None:
                known = self._known[peer_id] = _Candidate([], source)
            old = [] if peer_id == source else known.addresses
            known.addresses = list(dict.fromkeys([*old, *where]))[:MAX_ADDRESSES_PER_PEER]
            if peer_id == source:
                known.source, known.rests_until = peer_id, -math.inf
                if peer_id in self._links.up:
                    self._met.met(peer_id, known.addresses, self._now_ms(), dialled=False)
        self._news.set()

    def _has_room(self, peer_id: str, source: str) -> bool:
        """Whether one more may be known; somebody that we only heard of, from whom we heard most, may have to go for it."""
        heard = Counter(known.source for other, known in self._known.items() if other != known.source)
        if peer_id != source and heard[source] >= MAX_HEARD:
            return False
        if len(self._known) < MAX_KNOWN:
            return True
        spare = [
            other
            for other, known in self._known.items()
            if other != known.source and other not in self._kept and other not in self._links.up
        ]
        if not spare:
            return False
        del self._known[max(spare, key=lambda other: heard[self._known[other].source])]
        return True

    async def run(self, dial: Dial) -> None:
        """Keep connections until cancelled.

        :param dial: connects to an address, or raises NetworkError.
        """
        self._kept = {address.peer_id for address in self._bootstrap}
        async with trio.open_nursery() as nursery:
            for address in self._bootstrap:
                nursery.start_soon(self._keep, address.peer_id, [address], dial)
            nursery.start_soon(self._watch_links)
            while True:
                self._news = trio.Event()
                for peer_id in self._next():
                    self._kept.add(peer_id)
                    nursery.start_soon(self._keep, peer_id, None, dial)
                with trio.move_on_at(min((known.rests_until for known in self._resting()), default=math.inf)):
                    await self._news.wait()

    def _next(self) -> list[str]:
        """Whom to dial now: those that we know before those that we only heard of."""
        own = len(self._kept) - len({address.peer_id for address in self._bootstrap})
        room = (MAX_PEERS if len(self._links.up) < MAX_PEERS else MIN_OWN) - own
        now = trio.current_time()
        found = [
            peer_id
            for peer_id, known in self._known.items()
            if peer_id not in self._kept and peer_id not in self._links.up and known.rests_until <= now
        ]
        return sorted(found, key=lambda peer_id: peer_id not in self._met)[: max(0, room)]

    def _resting(self) -> list[_Candidate]:
        now = trio.current_time()
        return [known for known in self._known.values() if known.rests_until > now]

    async def _watch_links(self) -> None:
        while True:
            before = self._links.up
            await self._links.wait_for(partial(operator.ne, before))
            self._news.set()

    async def _keep(self, peer_id: str, bootstrap: list[PeerAddress] | None, dial: Dial) -> None:
        delay, failures = FIRST_DELAY, 0
        while bootstrap or failures < (TRIES if peer_id in self._met else FEW_TRIES):
            started = trio.current_time()
            where = dict.fromkeys([*(bootstrap or ()), *self.addresses(peer_id)])
            error = None if peer_id in self._links.up else await self._reach(list(where), dial)
            if error is None:
                if bootstrap and failures:
                    log.info("peer answers now", peer=peer_id)
                failures = 0
                await self._links.wait_for(lambda up: peer_id not in up)
                if trio.current_time() - started >= STEADY:
                    delay = FIRST_DELAY
            else:
                failures += 1
                if bootstrap and failures == 1:
                    log.warning("peer does not answer; trying on", reason=str(error))
            await trio.sleep(delay * self._rng.uniform(0.5, 1))
            delay = min(2 * delay, LAST_DELAY)
        self._met.failed(peer_id, self._now_ms())
        if peer_id in self._known:
            self._known[peer_id].rests_until = trio.current_time() + REST
        self._kept.discard(peer_id)
        self._news.set()

    async def _reach(self, addresses: Sequence[PeerAddress], dial: Dial) -> NetworkError | None:
        """Dial the addresses in turn; None once one answers, else the last error."""
        error = NetworkError("no address is known")
        for address in addresses:
            try:
                await dial(address)
            except NetworkError as failure:
                error = failure
            else:
                where = dict.fromkeys([address, *self.addresses(address.peer_id)])
                self._met.met(address.peer_id, list(where), self._now_ms(), dialled=True)
                return None
        return error
