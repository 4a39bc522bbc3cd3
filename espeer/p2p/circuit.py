"""Connections through a relay, as circuit relay v2 has them: the messages, the connection, and how one is dialled.

https://github.com/libp2p/specs/blob/master/relay/circuit-v2.md. A circuit is a stream to the relay that the relay joins to
one of its streams to the other peer. Both ends secure and multiplex it as they do a TCP connection, so the relay reads
nothing of it. The protobuf classes are py-libp2p's; nothing else of its relay is used (docs/architecture.md says why).
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio
from google.protobuf.message import DecodeError, Message
from libp2p.abc import IListener, INetStream, IRawConnection, ITransport
from libp2p.connection_types import ConnectionType
from libp2p.custom_types import THandler, TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.swarm import Swarm as Network
from libp2p.peer.id import ID
from libp2p.relay.circuit_v2.pb.circuit_pb2 import HopMessage, PeerId, Status
from libp2p.utils import encode_varint_prefixed
from multiaddr import Multiaddr  # type: ignore[import-untyped] # ships no types

from espeer.errors import NetworkError, ProtocolError
from espeer.log import get_logger
from espeer.p2p.addresses import PeerAddress, parse_peer
from espeer.p2p.streams import reset

HOP: Final = TProtocol("/libp2p/circuit/relay/0.2.0/hop")
STOP: Final = TProtocol("/libp2p/circuit/relay/0.2.0/stop")
MAX_MESSAGE: Final = 4096
"""The most bytes a message may have."""
MAX_PEER_ID: Final = 64
TURN_SECONDS: Final = 8.0
"""How long a peer may take to answer a message; less than dialling may take, so that the answer's lack is told."""

log = get_logger(__name__)

M = TypeVar("M", bound=Message)
OpenStream = Callable[[str, TProtocol], Awaitable[INetStream]]


async def send(stream: INetStream, message: Message) -> None:
    """Send a message: its length as a varint, and its bytes.

    :raises NetworkError: the peer goes away, or does not take it in time.
    """
    try:
        with trio.fail_after(TURN_SECONDS):
            await stream.write(encode_varint_prefixed(message.SerializeToString()))
    except (BaseLibp2pError, trio.TooSlowError) as error:
        raise NetworkError("the stream about the circuit was ended") from error


async def receive(stream: INetStream, kind: type[M]) -> M:
    """Receive a message, and read nothing beyond it: what follows may belong to the circuit.

    :raises ProtocolError: it is none, or too long.
    :raises NetworkError: the peer goes away or is too slow.
    """
    try:
        with trio.fail_after(TURN_SECONDS):
            size, shift = 0, 0
            while True:
                byte = (await _exactly(stream, 1))[0]
                size |= (byte & 0x7F) << shift
                shift += 7
                if size > MAX_MESSAGE or shift > 14:  # noqa: PLR2004 - two bytes of seven bits hold every length allowed
                    raise ProtocolError(f"a relay message is longer than {MAX_MESSAGE} bytes")
                if not byte & 0x80:
                    break
            message = kind()
            message.ParseFromString(await _exactly(stream, size))
            if not message.HasField("type"):  # it would pass for a RESERVE or a CONNECT
                raise ProtocolError("a relay message has no type")
            return message
    except trio.TooSlowError as error:
        raise NetworkError(f"no answer about the circuit within {TURN_SECONDS:g} s") from error
    except DecodeError as error:
        raise ProtocolError("a relay message is not protobuf") from error
    except BaseLibp2pError as error:
        raise NetworkError("the stream about the circuit was ended") from error


def status_name(status: int) -> str:
    """The status in words, for people to read."""
    return Status.Name(Status.ValueType(status)).replace("_", " ").lower() if status in Status.values() else f"status {status}"


def peer_id_of(message: PeerId) -> ID:
    """The peer id in a message.

    :raises ProtocolError: it is none.
    """
    if not 0 < len(message.id) <= MAX_PEER_ID:
        raise ProtocolError("a relay message holds no peer id")
    return ID(message.id)


def is_direct(network: Network, peer_id: ID) -> bool:
    """Whether a connection to the peer stands that is not itself relayed."""
    return any(
        not connection.is_closed and connection.get_connection_type() is not ConnectionType.RELAYED
        for connection in network.get_connections(peer_id)
    )


class Circuit(RawConnection):
    """A stream to a relay as a connection to the peer behind it."""

    def __init__(self, stream: INetStream, relay: ID, *, initiator: bool) -> None:
        super().__init__(stream, initiator, ConnectionType.RELAYED, [Multiaddr(f"/p2p/{relay}/p2p-circuit")])
        self._net_stream = stream

    def get_remote_address(self) -> tuple[str, int] | None:
        """None: the address of the stream is the relay's, and says nothing of the peer."""
        return None

    async def close(self) -> None:
        """End the circuit both ways: its other end may never end its half."""
        await self._net_stream.reset()


class CircuitTransport(ITransport):
    """Dials ``RELAY/p2p-circuit/p2p/PEER``.

    :param open_stream: opens a stream to a connected peer, or raises NetworkError.
    :param dial: connects to an address, or raises NetworkError.
    """

    def __init__(self, network: Network, open_stream: OpenStream, dial: Callable[[PeerAddress], Awaitable[None]]) -> None:
        self._network = network
        self._open_stream = open_stream
        self._dial = dial
        self._dialling: dict[str, trio.Event] = {}

    def listen_order(self) -> int:
        """Before TCP, which takes any address that has ``tcp`` in it for its own."""
        return -1

    def protocols(self) -> list[str]:
        """What an address must hold for this transport."""
        return ["p2p-circuit"]

    def can_dial(self, maddr: Multiaddr) -> bool:
        """Whether the address goes through a relay."""
        return "p2p-circuit" in [protocol.name for protocol in maddr.protocols()]

    def can_listen(self, maddr: Multiaddr) -> bool:  # noqa: ARG002 - libp2p's signature
        """Never: a reservation is not a socket."""
        return False

    def create_listener(self, handler_function: THandler) -> IListener:  # noqa: ARG002 - libp2p's signature
        """Nobody asks for one, see :meth:`can_listen`."""
        raise TypeError("a circuit is not listened on; reserve a slot at a relay instead")

    async def dial(self, maddr: Multiaddr) -> IRawConnection:
        """Have the relay join us to the peer, connecting to the relay first if need be.

        :raises NetworkError: the relay does not answer, or refuses.
        """
        address = parse_peer(str(maddr))
        relay = address.relay
        if relay is None:
            raise NetworkError(f"{address} names no relay")
        await self._connect(relay)
        stream = await self._open_stream(relay.peer_id, HOP)
        joined = False
        try:
            peer = PeerId(id=ID.from_string(address.peer_id).to_bytes())
            await send(stream, HopMessage(type=HopMessage.CONNECT, peer=peer))
            answer = await receive(stream, HopMessage)
            if answer.type != HopMessage.STATUS or answer.status != Status.OK:
                raise NetworkError(f"the relay does not connect us: {status_name(answer.status)}")
            joined = True
        finally:
            if not joined:
                await reset(stream)
        return Circuit(stream, ID.from_string(relay.peer_id), initiator=True)

    async def _connect(self, relay: PeerAddress) -> None:
        """Connect to the relay, once for all who wait for it."""
        while relay.peer_id in self._dialling:
            await self._dialling[relay.peer_id].wait()
        if is_direct(self._network, ID.from_string(relay.peer_id)):
            return
        done = self._dialling[relay.peer_id] = trio.Event()
        try:
            await self._dial(relay)
        finally:
            del self._dialling[relay.peer_id]
            done.set()


async def _exactly(stream: INetStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = await stream.read(size - len(data))
        if not chunk:
            raise NetworkError("the peer ended the stream")
        data += chunk
    return data
