"""Rounds: something done with peers, soon with those asked for, and with a random one now and then."""

import math
import random
from collections.abc import Awaitable, Callable, Collection
from typing import Final

import trio

from espeer.errors import EspeerError
from espeer.log import get_logger
from espeer.p2p.links import Links

MAX_VISITS: Final = 8
"""How many peers are visited at a time."""
SHARE_OF_LIKELY: Final = 0.9
"""How many of the visits of random peers go to likely ones."""

log = get_logger(__name__)


class Rounds:
    """Visits connected peers, each by one visit at a time.

    :param what: the name of it, for the log.
    :param interval: average seconds between visits of a random peer.
    :param likely: the peers that a visit is likely to be of use with; others get only a few of the visits of random peers.
    """

    def __init__(
        self,
        what: str,
        *,
        links: Links,
        rng: random.Random,
        interval: float,
        at_a_time: int = MAX_VISITS,
        likely: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._what = what
        self._links = links
        self._rng = rng
        self._interval = interval
        self._at_a_time = at_a_time
        self._likely = likely
        self._due: dict[str, None] = {}  # in the order asked for
        self._visited: set[str] = set()
        self._behind: set[str] = set()
        self._changed = trio.Event()

    def request(self, peer_id: str) -> None:
        """Visit a peer soon; once more, if it is being visited now. One that is not connected by then is passed over."""
        self._due[peer_id] = None
        self._changed.set()

    def put_back(self, peer_id: str, *, back: bool) -> None:
        """Note whether a peer holds us up. Those that do never take all the places, so that the others are visited."""
        self._behind &= self._links.up
        self._behind.discard(peer_id)
        if back:
            self._behind.add(peer_id)

    def is_back(self, peer_id: str) -> bool:
        """Whether it was put back."""
        return peer_id in self._behind

    async def run(self, visit: Callable[[str], Awaitable[None]]) -> None:
        """Visit until cancelled.

        :param visit: does it with a peer; what it raises ends that visit only.
        """
        self._due.clear()
        self._visited.clear()
        self._behind.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ask_for_random_ones)
            while True:
                self._changed = trio.Event()
                for peer_id in [peer_id for peer_id in self._due if peer_id not in self._visited]:
                    if len(self._visited) >= self._at_a_time:
                        break
                    if peer_id in self._behind and len(self._visited & self._behind) >= max(1, self._at_a_time - 1):
                        continue
                    del self._due[peer_id]
                    if peer_id in self._links.up:
                        self._visited.add(peer_id)
                        nursery.start_soon(self._one, visit, peer_id)
                await self._changed.wait()

    async def _ask_for_random_ones(self) -> None:
        while self._interval < math.inf:
            await trio.sleep(self._interval * self._rng.uniform(0.5, 1.5))
            peers = sorted(self._links.up)
            likely = sorted(self._links.up.intersection(self._likely()))
            if peers:
                self.request(self._rng.choice(likely if likely and self._rng.random() < SHARE_OF_LIKELY else peers))

    async def _one(self, visit: Callable[[str], Awaitable[None]], peer_id: str) -> None:
        try:
            await visit(peer_id)
        except EspeerError as error:
            log.debug("no visit", what=self._what, peer=peer_id, reason=str(error))
        except Exception:  # a fault of ours, or of libp2p, that must not end the visits of others
            log.exception("visit failed", what=self._what, peer=peer_id)
        finally:
            self._visited.discard(peer_id)
            self._changed.set()
