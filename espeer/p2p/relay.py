"""The relay service: joins peers that cannot reach each other, within bounds. Off unless asked for.

A peer reserves a slot over a connection of its own; whoever wants to reach it asks for a circuit. A relay dials nobody,
speaks for nobody (a peer reserves for itself only), and sends nothing of its own into a circuit.
"""

import math
import time
from typing import Final

import trio
from libp2p.abc import INetStream
from libp2p.connection_types import ConnectionType
from libp2p.peer.id import ID
from libp2p.relay.circuit_v2.pb.circuit_pb2 import HopMessage, Limit, PeerId, Reservation, Status, StopMessage
from multiaddr import Multiaddr  # type: ignore[import-untyped] # ships no types

from espeer.errors import NetworkError, ProtocolError
from espeer.log import get_logger
from espeer.p2p.addresses import PeerAddress, seen_from_outside, usable
from espeer.p2p.circuit import HOP, STOP, is_direct, peer_id_of, receive, send, status_name
from espeer.p2p.door import Blame, Counters
from espeer.p2p.hardening import guard
from espeer.p2p.host import Node
from espeer.p2p.interfaces import hosts
from espeer.p2p.limits import Buckets
from espeer.p2p.lobby import source_of
from espeer.p2p.slots import Limits, Slots
from espeer.p2p.streams import reset

REQUEST_RATE: Final = 1.0
"""Requests per second that one peer may make."""
REQUEST_BURST: Final = 16.0
STALL_SECONDS: Final = 30.0
"""How long an end may take none of what the other sends."""
MAX_ADDRESSES: Final = 16
"""How many addresses of ours a reservation tells."""
_CHUNK: Final = 64 * 1024

log = get_logger(__name__)


class Relay:
    """Answers reservations and requests for circuits."""

    def __init__(self, counters: Counters, blame: Blame, limits: Limits) -> None:
        self._blame = blame
        self._limits = limits
        self._counters = counters
        self._slots = Slots(self._limits)
        self._requests = Buckets[str](REQUEST_RATE, REQUEST_BURST)

    def serve(self, node: Node) -> None:
        """Answer over ``node`` for as long as it runs."""
        self._slots = Slots(self._limits)
        node.host.set_stream_handler(HOP, guard(lambda stream: self._answer(node, stream)))

    async def _answer(self, node: Node, stream: INetStream) -> None:
        """Take one request. A stream is for one: it ends with the answer, or becomes the circuit."""
        answer: HopMessage | None
        try:
            request = await receive(stream, HopMessage)
            if not self._requests.take(str(stream.muxed_conn.peer_id), trio.current_time()):
                answer = _status(Status.RESOURCE_LIMIT_EXCEEDED)
            elif request.type == HopMessage.RESERVE:
                answer = self._reserve(node, stream)
            elif request.type == HopMessage.CONNECT:
                answer = await self._connect(node, stream, peer_id_of(request.peer))
            else:
                answer = _status(Status.UNEXPECTED_MESSAGE)
        except ProtocolError as error:
            self._blame(str(stream.muxed_conn.peer_id), error)
            answer = _status(Status.MALFORMED_MESSAGE)
        if answer is None:
            await reset(stream)
        else:
            await send(stream, answer)
            await stream.close()

    def _reserve(self, node: Node, stream: INetStream) -> HopMessage:
        peer_id = stream.muxed_conn.peer_id
        host = stream.get_remote_address()
        if _is_relayed(stream) or host is None:
            return _status(Status.PERMISSION_DENIED)
        self._forget_lost(node)
        if not self._slots.reserve(str(peer_id), source_of(host[0]), time.time()):
            return _status(Status.RESERVATION_REFUSED)
        answer = _status(Status.OK)
        answer.reservation.CopyFrom(
            Reservation(
                expire=math.floor(time.time() + self._limits.seconds),
                addrs=[Multiaddr(str(address)).to_bytes() for address in self._addresses(node)],
            )
        )
        answer.limit.CopyFrom(self._limit())
        return answer

    def _addresses(self, node: Node) -> list[PeerAddress]:
        """Where we are, for those who make their own addresses of it."""
        told = usable(str(address) for address in node.host.get_addrs())
        seen = (seen_from_outside(address, host) for address in told for host in (None, *hosts()))
        return list(dict.fromkeys(address for address in seen if address is not None))[:MAX_ADDRESSES]

    def _forget_lost(self, node: Node) -> None:
        """A reservation ends with its connection."""
        for peer_id in self._slots.reserved:
            if not is_direct(node.network, ID.from_string(peer_id)):
                self._slots.release(peer_id)

    async def _connect(self, node: Node, stream: INetStream, target: ID) -> HopMessage | None:
        """Carry the circuit asked for until it ends; return the refusal if there is none."""
        source = stream.muxed_conn.peer_id
        if _is_relayed(stream) or source == target:
            return _status(Status.PERMISSION_DENIED)
        self._forget_lost(node)
        if not self._slots.is_reserved(str(target), time.time()):
            return _status(Status.NO_RESERVATION)
        if not self._slots.join(str(source), str(target)):
            return _status(Status.RESOURCE_LIMIT_EXCEEDED)
        try:
            onward = await self._reach(node, source, target)
            try:
                answer = _status(Status.OK)
                answer.limit.CopyFrom(self._limit())
                await send(stream, answer)
                self._counters.circuits += 1
                await self._carry(stream, onward)
            finally:
                await reset(onward)
        except NetworkError as error:
            log.debug("no circuit", target=str(target), reason=str(error))
            return _status(Status.CONNECTION_FAILED)
        finally:
            self._slots.part(str(source), str(target))
        return None

    async def _reach(self, node: Node, source: ID, target: ID) -> INetStream:
        """Open the other half of a circuit.

        :raises NetworkError: the target does not answer, or does not want it.
        """
        onward = await node.open_stream(str(target), STOP)
        accepted = False
        try:
            peer = PeerId(id=source.to_bytes())
            await send(onward, StopMessage(type=StopMessage.CONNECT, peer=peer, limit=self._limit()))
            answer = await receive(onward, StopMessage)
            accepted = answer.type == StopMessage.STATUS and answer.status == Status.OK
            if not accepted:
                raise NetworkError(f"the peer refuses: {status_name(answer.status)}")
        finally:
            if not accepted:
                await reset(onward)
        return onward

    async def _carry(self, one: INetStream, other: INetStream) -> None:
        """Carry bytes until one end is done or a limit is reached."""
        left = self._limits.circuit_bytes

        async def pump(source: INetStream, sink: INetStream) -> None:
            nonlocal left
            try:
                while data := await source.read(_CHUNK):
                    left -= len(data)
                    if left < 0:
                        break
                    with trio.fail_after(STALL_SECONDS):
                        await sink.write(data)
                    self._counters.relayed += len(data)
                    await trio.sleep(len(data) / self._limits.rate)
            except Exception as error:  # noqa: BLE001 - however an end goes, the circuit goes with it
                log.debug("circuit ended", reason=repr(error))
            nursery.cancel_scope.cancel()

        with trio.move_on_after(self._limits.circuit_seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pump, one, other)
                nursery.start_soon(pump, other, one)

    def _limit(self) -> Limit:
        return Limit(duration=math.ceil(self._limits.circuit_seconds), data=self._limits.circuit_bytes)


def _status(status: Status.ValueType) -> HopMessage:
    return HopMessage(type=HopMessage.STATUS, status=status)


def _is_relayed(stream: INetStream) -> bool:
    """Whether the stream came through a relay itself: relays are not chained."""
    connection = stream.muxed_conn
    return connection.get_connection_type() is ConnectionType.RELAYED
