"""The libp2p host: built, listening, guarded, and closed in bounded time."""

import errno
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import trio
from libp2p import new_host
from libp2p.abc import IHost, INetStream
from libp2p.crypto.x25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.swarm import Swarm as Network
from libp2p.peer.id import ID
from libp2p.rcmgr import new_resource_manager
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as Noise
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr  # type: ignore[import-untyped] # ships no types

from espeer.errors import AddressInUse, NetworkError
from espeer.log import get_logger
from espeer.p2p import hardening
from espeer.p2p.addresses import PeerAddress
from espeer.p2p.door import Blame
from espeer.p2p.gate import Gate
from espeer.p2p.hardening import IdleConnector, guard
from espeer.p2p.identity import Identity
from espeer.p2p.names import looked_up
from espeer.p2p.pubsub import Judge, SafePubsub
from espeer.p2p.reception import Reception, guard_handshakes
from espeer.p2p.router import SafeGossipSub
from espeer.p2p.selecting import OneTrip

CLOSE_SECONDS: Final = 1.5
"""How long closing may take; what is not closed by then is dropped."""
DIAL_SECONDS: Final = 10.0
"""How long reaching an address may take."""
MAX_CONNECTIONS: Final = 64
OPEN_SECONDS: Final = 10.0
"""How long a peer may take to agree on a protocol."""

_NOT_SPOKEN: Final = "protocol not supported"
"""What libp2p says where a peer answers "na"."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How a node's peers are judged.

    :ivar accepts: see :class:`SafePubsub`; ``subscribed`` and ``judge`` as well.
    :ivar blame: called with a peer and what it did wrong.
    :ivar banned: whether a peer is kept out.
    :ivar score: see :class:`SafeGossipSub`.
    """

    accepts: Callable[[str], bool]
    subscribed: Callable[[str, str], None]
    judge: Judge
    blame: Blame
    banned: Callable[[str], bool]
    score: Callable[[str], float]


@dataclass(frozen=True, slots=True)
class Node:
    """A running libp2p node."""

    host: IHost
    network: Network
    pubsub: SafePubsub
    gossipsub: SafeGossipSub
    gate: Gate

    def listens(self) -> list[str]:
        """Where it listens, whatever it announces, with ``/p2p/PEERID``."""
        listeners = self.network.listeners.values()
        return [f"{address}/p2p/{self.host.get_id()}" for listener in listeners for address in listener.get_addrs()]

    async def open_stream(self, peer_id: str, protocol: TProtocol) -> INetStream:
        """Open a stream to a connected peer. Whoever calls this closes or resets it.

        :raises NetworkError: the peer is not there, does not speak the protocol, or takes too long.
        """
        try:
            # a peer with too many open streams makes new_stream wait for ever
            with trio.fail_after(OPEN_SECONDS):
                return await self.host.new_stream(ID.from_string(peer_id), [protocol])
        except trio.TooSlowError as error:
            raise NetworkError(f"peer {peer_id} did not take up {protocol} within {OPEN_SECONDS:g} s") from error
        except Exception as error:  # as in dial
            cause = _cause(error)
            if _NOT_SPOKEN in cause:
                raise NetworkError(f"peer {peer_id} does not speak {protocol}") from error
            raise NetworkError(f"peer {peer_id} does not take up {protocol}: {cause}") from error

    async def dial(self, address: PeerAddress) -> None:
        """Connect to a peer.

        :raises NetworkError: it does not answer there, or somebody else does; or the gate does not admit it.
        """
        if not self.gate.admits(address.peer_id):
            raise NetworkError(f"{address} is not dialled: the peer is banned, denied or not among those allowed")
        try:
            with trio.fail_after(DIAL_SECONDS):
                *others, last = await looked_up(address)
                for where in others:
                    try:
                        return await self._dial(where)
                    except NetworkError as error:
                        log.debug("an address of a name does not answer", reason=str(error))
                await self._dial(last)
        except trio.TooSlowError as error:
            raise NetworkError(f"no answer from {address} within {DIAL_SECONDS:g} s") from error

    async def _dial(self, address: PeerAddress) -> None:
        try:
            # dial_addr and not connect: that one tries a single address per transport, and refuses to dial a peer for a
            # minute after a failure
            await self.network.dial_addr(Multiaddr(str(address)), ID.from_string(address.peer_id))
        except Exception as error:  # libp2p raises from many trees, ExceptionGroups among them
            raise NetworkError(f"cannot reach {address}: {_cause(error)}") from error


class OpenNode(Protocol):
    """Runs a libp2p node, or what stands in for one, while the context is entered; see :func:`open_node`."""

    def __call__(
        self,
        identity: Identity,
        listen: Sequence[Multiaddr],
        /,
        *,
        gate: Gate,
        watch: Watch,
        announce: Sequence[Multiaddr],
        psk: bytes | None,
    ) -> AbstractAsyncContextManager[Node]:
        """Enter the network."""


@asynccontextmanager
async def open_node(
    identity: Identity,
    listen: Sequence[Multiaddr],
    *,
    gate: Gate,
    watch: Watch,
    announce: Sequence[Multiaddr] = (),
    psk: bytes | None = None,
) -> AsyncIterator[Node]:
    """Run a libp2p node that listens on ``listen`` while the context is entered.

    libp2p runs in a shielded task of its own: when it is cancelled from outside it leaves sockets open, so it is closed
    first (within :data:`CLOSE_SECONDS`) and cancelled then. If it fails by itself, the context is left with its error.

    :param gate: who may be connected.
    :param announce: what others are told instead of where we listen.
    :param psk: the key of a private network, see :mod:`espeer.p2p.private`.
    :raises AddressInUse: cannot listen there. As all errors from here, it may come in an ExceptionGroup.
    """
    hardening.apply()
    node = _build(identity, gate, watch, announce, psk)
    ready, stop = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_serve, node, listen, ready, stop)
        try:
            await ready.wait()
            yield node
        finally:
            stop.set()


async def _serve(node: Node, listen: Sequence[Multiaddr], ready: trio.Event, stop: trio.Event) -> None:
    try:
        with trio.CancelScope(shield=True) as scope:
            try:
                async with node.host.run([]):
                    await _listen(node.network, listen)
                    async with background_trio_service(node.pubsub), background_trio_service(node.gossipsub):
                        await node.pubsub.wait_until_ready()
                        ready.set()
                        await stop.wait()
                        await _close(node)
                        scope.cancel()
            except Exception:
                await _close(node)  # failing services leave sockets open, too
                raise
    except Exception as error:
        if not stop.is_set():
            raise
        # tasks that start others while their nursery closes fail with "Nursery is closed to new arrivals"
        log.debug("libp2p while closing", error=repr(error))


async def _close(node: Node) -> None:
    """Close the connections at once (one after the other takes 0.1 s each), then the host."""
    with trio.move_on_after(CLOSE_SECONDS):
        async with trio.open_nursery() as nursery:
            for connection in node.network.get_connections():
                # one that counts as closed may have been cancelled while it closed
                nursery.start_soon(connection.muxed_conn.close if connection.is_closed else connection.close)
        await node.host.close()


def _build(identity: Identity, gate: Gate, watch: Watch, announce: Sequence[Multiaddr], psk: bytes | None) -> Node:
    key_pair = identity.key_pair
    host = new_host(
        key_pair=key_pair,
        sec_opt={NOISE: Noise(key_pair, noise_privkey=create_new_key_pair().private_key)},
        muxer_opt={TProtocol(YAMUX): Yamux},
        connection_config=ConnectionConfig(
            max_connections=MAX_CONNECTIONS, min_connections=0, low_watermark=0, high_watermark=MAX_CONNECTIONS
        ),
        # a loaded model, or a few dead addresses, must not make it refuse peers
        resource_manager=new_resource_manager(
            enable_metrics=False, enable_memory_limits=False, enable_circuit_breaker=False, enable_graceful_degradation=False
        ),
        disable_identify_address_discovery=True,
        announce_addrs=announce or None,
        psk=psk.hex() if psk else None,
    )
    host.multiselect_client = OneTrip()  # type: ignore[attr-defined] # the host that new_host makes has one
    network = host.get_network()
    if not isinstance(network, Network):
        raise TypeError(f"libp2p's network is a {type(network).__name__}")
    network.auto_connector = IdleConnector(network)
    network.retry_config = RetryConfig(max_retries=0)  # the dialer retries
    network.set_stream_handler(guard(network.common_stream_handler, watch.blame))
    guard_handshakes(network.upgrader, gate, watch.blame)
    Reception(network).install()
    gossipsub = SafeGossipSub(blame=watch.blame, score=watch.score)
    pubsub = SafePubsub(
        host,
        gossipsub,
        accepts=watch.accepts,
        subscribed=watch.subscribed,
        judge=watch.judge,
        blame=watch.blame,
        banned=watch.banned,
    )
    return Node(host, network, pubsub, gossipsub, gate)


async def _listen(network: Network, addresses: Sequence[Multiaddr]) -> None:
    for address in addresses:
        _probe(address)
        await network.listen(address)
        if str(address) not in network.listeners:  # it does not raise
            raise AddressInUse(f"cannot listen on {address}; give another address or port")


def _probe(address: Multiaddr) -> None:
    """See whether the address is free: libp2p listens with SO_REUSEPORT, so two nodes would share a port unknowingly."""
    (protocol, host), (_, port) = address.items()
    with socket.socket(socket.AF_INET6 if protocol.name == "ip6" else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            raise AddressInUse(f"cannot listen on {address}: {_why(error)}") from error


def _why(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "the port is in use; stop what uses it, or give another port"
        case errno.EADDRNOTAVAIL:
            return "the address is not one of this machine; give one that is, or 0.0.0.0"
        case errno.EACCES:
            return "not allowed; give a port from 1024"
        case _:
            return f"{error.strerror}; give another address"


def _cause(error: BaseException) -> str:
    """The innermost message of a chain of errors, as one line."""
    while True:
        inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__
        if inner is None:
            return " ".join(str(error).split()) or type(error).__name__
        error = inner
