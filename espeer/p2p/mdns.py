"""Finding the nodes of one's network on the LAN, by multicast DNS (RFC 6762) over IPv4. Off unless asked for.

It is a UDP socket in trio and no more: py-libp2p's own runs threads that write to the peerstore and call back from there,
sleep in them, and ask the machine for a route to the internet (docs/architecture.md).
"""

import math
import random
import socket
import string
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import trio

from espeer.log import get_logger
from espeer.p2p.addresses import PeerAddress, usable
from espeer.p2p.beacon import MAX_DATAGRAM, answer, at_host, hear, question, service_of
from espeer.p2p.interfaces import hosts
from espeer.p2p.limits import Bucket

GROUP: Final = "224.0.0.251"
PORT: Final = 5353
ASK_SECONDS: Final = 60.0
"""How often to ask who is there; the first times sooner."""
FIRST_ASK_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 1.0
"""The least time between two answers (RFC 6762, 6)."""
MAX_DELAY: Final = 0.12
"""The most seconds to wait before an answer, so that not all speak at once."""
RATE: Final = 20.0
"""Messages per second that are read; what comes faster is dropped unread."""
BURST: Final = 64.0
MAX_FOUND: Final = 64
"""How many peers are taken from the LAN in :data:`FORGET_SECONDS`; who is there can make up any number."""
FORGET_SECONDS: Final = 3600.0

log = get_logger(__name__)


class Mdns:
    """Tells the LAN where we are, and learns who is there.

    :param network: name of the network; nodes of others are passed over.
    :param psk: the key of a private network.
    :param learn: called with addresses of one node, which may be no node at all.
    """

    def __init__(
        self,
        own: str,
        network: str,
        learn: Callable[[Iterable[PeerAddress]], None],
        rng: random.Random,
        *,
        psk: bytes | None = None,
    ) -> None:
        self._own = own
        self._network = network
        self._service = service_of(psk)
        self._learn = learn
        self._rng = rng
        self._asked = trio.Event()
        self._speaking = trio.Lock()
        self._found: set[str] = set()
        self._forget = -math.inf

    async def run(self, reached: Callable[[], Sequence[str]]) -> None:
        """Run until cancelled; if the machine has no LAN, or loses it, it is tried again.

        :param reached: where peers reach us.
        """
        warned = False
        while True:
            try:
                await self._session(reached)
            except* OSError as errors:
                if not warned:
                    log.warning("no mDNS; trying on", reason=str(errors.exceptions[0]))
                warned = True
            await trio.sleep(ASK_SECONDS * self._rng.uniform(0.5, 1))

    async def _session(self, reached: Callable[[], Sequence[str]]) -> None:
        name = "".join(self._rng.choices(string.ascii_lowercase + string.digits, k=40))
        with await _open_socket() as wire:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._ask, wire)
                nursery.start_soon(self._answer, wire, name, reached)
                await self._listen(wire)

    async def _ask(self, wire: trio.socket.SocketType) -> None:
        joined: set[str] = set()
        wait = FIRST_ASK_SECONDS
        while True:
            for host in hosts():
                if host not in joined:  # the network may have changed
                    joined.add(host)
                    _join(wire, host)
                await self._say(wire, host, question(self._service))
            await trio.sleep(wait * self._rng.uniform(0.75, 1.25))
            wait = min(2 * wait, ASK_SECONDS)

    async def _answer(self, wire: trio.socket.SocketType, name: str, reached: Callable[[], Sequence[str]]) -> None:
        while True:
            await self._asked.wait()
            await trio.sleep(self._rng.uniform(0, MAX_DELAY))
            self._asked = trio.Event()
            for host in hosts():
                if addresses := at_host(usable(reached()), host):
                    await self._say(wire, host, answer(name, self._network, host, addresses, self._service))
            await trio.sleep(ANSWER_SECONDS)

    async def _listen(self, wire: trio.socket.SocketType) -> None:
        bucket = Bucket(RATE, BURST, trio.current_time())
        while True:
            data, (source, *_) = await wire.recvfrom(MAX_DATAGRAM)
            if not bucket.take(trio.current_time()):
                continue
            heard = hear(data, source, self._network, self._service)
            if heard.asks:
                self._asked.set()
            news = [address for address in heard.addresses if address.peer_id != self._own and self._has_room(address.peer_id)]
            if news:
                self._learn(news)

    async def _say(self, wire: trio.socket.SocketType, host: str, message: bytes) -> None:
        """Send to the LAN that ``host`` is our address on."""
        async with self._speaking:  # the socket sends to one LAN at a time
            try:
                wire.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(host))
                await wire.sendto(message, (GROUP, PORT))
            except OSError as error:  # an interface may go at any time
                log.debug("nothing said by mDNS", host=host, reason=str(error))

    def _has_room(self, peer_id: str) -> bool:
        if trio.current_time() >= self._forget:
            self._found.clear()
            self._forget = trio.current_time() + FORGET_SECONDS
        if peer_id not in self._found and len(self._found) < MAX_FOUND:
            self._found.add(peer_id)
            log.info("found on the LAN", peer=peer_id)
        return peer_id in self._found


async def _open_socket() -> trio.socket.SocketType:
    """A socket that hears what is said to the group, beside others of this machine that do the same."""
    wire = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform == "darwin":
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        wire.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        wire.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)  # RFC 6762, 11; no router passes this group on
        await wire.bind((GROUP, PORT))  # not to any address: what is sent to us alone may come from anywhere
    except BaseException:
        wire.close()
        raise
    return wire


def _join(wire: trio.socket.SocketType, host: str) -> None:
    """Hear the LAN that ``host`` is our address on."""
    try:
        wire.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + socket.inet_aton(host))
    except OSError as error:
        log.debug("no mDNS here", host=host, reason=str(error))
