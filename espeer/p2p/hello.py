"""The greeting: peers tell each other where they and others listen (protocol ``/espeer/1/<network>/hello/1``).

Whoever opened the connection greets first, and greets a random peer again now and then: so every node hears of every other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import trio

from espeer.errors import ProtocolError
from espeer.p2p.addresses import MAX_ADDRESS, PeerAddress, reach_of, seen_from_outside, usable
from espeer.p2p.conversations import Conversations
from espeer.p2p.dialer import Dialer
from espeer.p2p.frames import Frames
from espeer.p2p.host import Node
from espeer.p2p.local import Local
from espeer.p2p.rounds import Rounds
from espeer.p2p.wire import pack, unpack

MAX_ADDRESSES: Final = 32
"""The most addresses of each kind that a greeting may hold."""
HELLO_SECONDS: Final = 30.0
"""How long greeting a peer may take."""


@dataclass(frozen=True, slots=True)
class Hello:
    """How a peer greets.

    :ivar listen: where it listens itself, as multiaddrs.
    :ivar peers: where peers listen that it is connected to.
    """

    listen: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()


def encode(hello: Hello) -> bytes:
    """A greeting as a frame's payload."""
    return pack(["hello", list(hello.listen[:MAX_ADDRESSES]), list(hello.peers[:MAX_ADDRESSES])])


def decode(data: bytes) -> Hello:
    """Read a greeting.

    :raises ProtocolError: it is none, or over a limit.
    """
    match unpack(data):
        case ["hello", list(listen), list(peers)]:
            return Hello(_addresses(listen), _addresses(peers))
        case _:
            raise ProtocolError("the peer sent something else than a greeting")


def _addresses(value: list[Any]) -> tuple[str, ...]:
    if len(value) > MAX_ADDRESSES or not all(type(item) is str and len(item) <= MAX_ADDRESS for item in value):
        raise ProtocolError("the addresses in the peer's greeting are too many, too long, or none")
    return tuple(value)


def believed(
    hello: Hello, peer_id: str, remote: str | None, known: Callable[[PeerAddress], bool] = lambda _: False
) -> list[PeerAddress]:
    """The addresses in a greeting that we may dial: a peer may speak for itself, and repeat what others said.

    It cannot mean an address in a smaller world than the one it comes from: it would have us look for open ports on our own
    machine or LAN.

    :param peer_id: who greets.
    :param remote: the IP address that its connection comes from, or None if it comes through a relay.
    :param known: whether an address, also one of a relay, is none that we would only dial because of this.
    """
    own = (seen_from_outside(address, remote) for address in usable(hello.listen) if address.peer_id == peer_id)
    others = (address for address in usable(hello.peers) if address.peer_id != peer_id)
    return [
        address
        for address in (*own, *others)
        if address is not None and (address.reach >= reach_of(remote) or known(address.relay or address))
    ]


class Greeter:
    """Greets peers, and has the dialer know what they tell.

    :param interval: average seconds between greetings of a random peer.
    :param reached: where peers reach us.
    """

    def __init__(self, local: Local, *, dialer: Dialer, interval: float, reached: Callable[[Node], Sequence[str]]) -> None:
        self._local = local
        self._dialer = dialer
        self._reached = reached
        self._conversations = Conversations(local.named("hello/1"), blame=local.blame, seconds=HELLO_SECONDS)
        self._rounds = Rounds("greeting", links=local.links, rng=local.rng, interval=interval)

    def request(self, peer_id: str) -> None:
        """Greet a connected peer soon."""
        self._rounds.request(peer_id)

    async def run(self, node: Node, *, task_status: trio.TaskStatus[None]) -> None:
        """Greet until cancelled; started once greetings are answered."""
        self._conversations.serve(node, partial(self._answer, node))
        task_status.started()
        await self._rounds.run(partial(self._greet, node))

    async def _greet(self, node: Node, peer_id: str) -> None:
        async with self._conversations.open(node, peer_id) as frames:
            await frames.send(encode(self._hello(node, frames.remote)))
            self._learn(decode(await frames.receive()), peer_id, frames.remote)

    async def _answer(self, node: Node, peer_id: str, frames: Frames) -> None:
        # noted before we answer: of two that come at the same time, the second is told of the first
        self._learn(decode(await frames.receive()), peer_id, frames.remote)
        await frames.send(encode(self._hello(node, frames.remote)))

    def _hello(self, node: Node, remote: str | None) -> Hello:
        known = [address for peer_id in sorted(self._local.links.up) for address in self._dialer.addresses(peer_id)]
        peers = [str(address) for address in known if address.reach >= reach_of(remote)]
        return Hello(tuple(self._reached(node)), tuple(self._local.rng.sample(peers, min(len(peers), MAX_ADDRESSES))))

    def _learn(self, hello: Hello, peer_id: str, remote: str | None) -> None:
        self._dialer.learn(believed(hello, peer_id, remote, self._dialer.knows), source=peer_id)
