"""What py-libp2p 0.8.1 needs to survive its peers, and to be fast enough.

Each class and patch names the fault it closes; tests/p2p/test_hardening.py has a test for each. They replace private names,
so libp2p is pinned to this one version.
"""

import functools
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from libp2p.abc import IHost, INetStream
from libp2p.io.exceptions import MessageTooLarge
from libp2p.network.auto_connector import AutoConnector
from libp2p.network.connection import swarm_connection
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.id import ID
from libp2p.pubsub import gossipsub as gossipsub_module
from libp2p.pubsub import pubsub as pubsub_module
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.rpc_queue import RpcQueue

OUTBOUND_QUEUE: Final = 256
"""Gossip messages that may wait for one slow peer: 16 MiB at the most."""
_MAX_VARINT: Final = 10
_CHUNK: Final = 64 * 1024

logger = logging.getLogger("espeer.libp2p")

StreamHandler = Callable[[INetStream], Awaitable[None]]


def guard(handler: StreamHandler) -> StreamHandler:
    """``handler``, whose exceptions reset the stream and go no further.

    Fault closed: an exception that leaves a stream handler, libp2p's own included, ends the whole network service. Garbage
    on the pubsub protocol is enough for one.
    """

    @functools.wraps(handler)
    async def guarded(stream: INetStream) -> None:
        try:
            await handler(stream)
        except Exception as error:  # noqa: BLE001 - whatever a peer can provoke must stay with that peer's stream
            logger.debug("stream from %s: %r", stream.muxed_conn.peer_id, error)
            await _reset(stream)

    return guarded


class SafePubsub(Pubsub):
    """Pubsub that outlives malformed messages.

    :param accepts: which topics' subscriptions are remembered. Fault closed: a peer could fill our memory with topic names.
    """

    def __init__(self, host: IHost, router: GossipSub, *, accepts: Callable[[str], bool]) -> None:
        super().__init__(host, router, strict_signing=True)
        # Fault closed: sequence numbers start at the second of the start, so what a restarted publisher sends counts as
        # already seen.
        self.counter = time.time_ns()
        self._accepts = accepts

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        """Take a message. Fault closed: a bad ``from`` or ``key``, or a validator that raises, ends the whole service."""
        try:
            await super().push_msg(msg_forwarder, msg)
        except Exception as error:  # noqa: BLE001 - as in guard
            logger.debug("gossip message from %s: %r", msg_forwarder, error)

    def handle_subscription(self, origin_id: ID, sub_message: rpc_pb2.RPC.SubOpts) -> None:
        """Note a peer's subscription, if it is to one of our topics."""
        if self._accepts(sub_message.topicid):
            super().handle_subscription(origin_id, sub_message)

    def get_hello_packet(self) -> rpc_pb2.RPC:
        """Greet a peer, without the empty peer record that :func:`apply` leaves (others would refuse the packet for it)."""
        packet = super().get_hello_packet()
        packet.ClearField("senderRecord")
        return packet

    async def write_msg(self, stream: INetStream, rpc_msg: rpc_pb2.RPC) -> bool:
        """Send an RPC, without the empty peer record, as in :meth:`get_hello_packet`."""
        rpc_msg.ClearField("senderRecord")
        return await super().write_msg(stream, rpc_msg)


class SafeGossipSub(GossipSub):
    """GossipSub that gossips to pruned peers too, and that peers cannot fill or steer."""

    _gossiping = False

    def gossip_heartbeat(self) -> Any:
        """Collect the IHAVEs. Lists that nothing reads are emptied. Fault closed: they grow without end."""
        self._gossiping = True
        try:
            return super().gossip_heartbeat()
        finally:
            self._gossiping = False
            self.recent_message_deliveries.clear()
            self.recent_peer_connections.clear()
            self.recent_peer_disconnections.clear()

    def _get_in_topic_gossipsub_peers_from_minus(
        self, topic: str, num_to_select: int, minus: Any, backoff_check: bool = False
    ) -> list[ID]:
        """Select peers. Fault closed: IHAVE skips peers in prune backoff, so a pruned leaf gets nothing at all."""
        backoff_check = backoff_check and not self._gossiping
        return super()._get_in_topic_gossipsub_peers_from_minus(topic, num_to_select, minus, backoff_check)

    async def handle_prune(self, prune_msg: rpc_pb2.ControlPrune, sender_peer_id: ID) -> None:
        """Leave the mesh of a peer. Fault closed: backoff is kept for any topic a peer cares to make up."""
        if prune_msg.topicID in self.mesh:
            await super().handle_prune(prune_msg, sender_peer_id)

    async def handle_ihave(self, ihave_msg: rpc_pb2.ControlIHave, sender_peer_id: ID) -> None:
        """Ask for what is new. Fault closed: rate limits are kept for any topic a peer cares to make up."""
        if ihave_msg.topicID in self.mesh:
            await super().handle_ihave(ihave_msg, sender_peer_id)

    async def _do_px(self, px_peers: list[rpc_pb2.PeerInfo]) -> None:
        """Ignore peers offered with a PRUNE. Fault closed: we would dial whatever a peer says; the dialer has bounds."""


class IdleConnector(AutoConnector):
    """Dials nobody. Fault closed: even with a low watermark of 0 libp2p dials every peer it ever heard an address of."""

    async def maybe_connect(self) -> None:
        """Leave it to our dialer."""


class _Queue(RpcQueue):
    """Fault closed: a burst of more than 32 messages to one peer is dropped, and there is no parameter for it."""

    def __init__(self) -> None:
        super().__init__(OUTBOUND_QUEUE)


async def _read_prefixed(stream: INetStream, limit: int) -> bytes:
    """Read a varint and that many bytes, through a buffer kept with the stream.

    Fault closed: the stock reader asks the muxer for the length byte by byte, which costs most of a delivery.
    """
    buffer: bytearray = stream.__dict__.setdefault("_espeer_buffer", bytearray())
    while True:
        size, used = _varint(buffer)
        if used and size > limit:
            raise MessageTooLarge(f"Message length {size} exceeds maximum allowed {limit}")
        if used and len(buffer) >= used + size:
            message = bytes(buffer[used : used + size])
            del buffer[: used + size]
            return message
        if not used and len(buffer) >= _MAX_VARINT:
            raise MessageTooLarge("Message length is not a varint")
        data = await stream.read(_CHUNK)
        if not data:
            raise StreamEOF
        buffer += data


def _varint(buffer: bytearray) -> tuple[int, int]:
    """The varint that ``buffer`` starts with, and how many bytes it takes: 0 if it is not all there."""
    value = 0
    for index, byte in enumerate(buffer[:_MAX_VARINT]):
        value |= (byte & 0x7F) << (7 * index)
        if not byte & 0x80:
            return value, index + 1
    return 0, 0


def _no_record(_host: IHost) -> tuple[bytes, bool]:
    return b"", False


class _Forward(logging.Handler):
    """Hands libp2p's records on at debug level: its warnings are mostly about what its peers did."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass ``record`` to our logger."""
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s: %s", record.name, record.getMessage())


_forward = _Forward()


def apply() -> None:
    """Patch libp2p's modules. May be called again."""
    patches: tuple[tuple[Any, str, object], ...] = (
        (pubsub_module, "read_varint_prefixed_bytes_limited", _read_prefixed),
        (pubsub_module, "RpcQueue", _Queue),
        # Fault closed: every RPC carries, and its reader verifies, a freshly signed peer record.
        (pubsub_module, "env_to_send_in_RPC", _no_record),
        (gossipsub_module, "env_to_send_in_RPC", _no_record),
        # Fault closed: it logs by the root logger's functions, which give the root logger a handler that writes to the
        # terminal. A logger has functions of the same names.
        (swarm_connection, "logging", logging.getLogger("libp2p.network.connection")),
    )
    for module, name, value in patches:
        if not hasattr(module, name):
            raise RuntimeError(f"this is not the libp2p that espeer was written for: no {name} in {module.__name__}")
        setattr(module, name, value)
    # Fault closed: without a handler Python prints warnings to the terminal.
    libp2p_logger = logging.getLogger("libp2p")
    libp2p_logger.propagate = False
    if _forward not in libp2p_logger.handlers:
        libp2p_logger.addHandler(_forward)


async def _reset(stream: INetStream) -> None:
    try:
        await stream.reset()
    except Exception as error:  # noqa: BLE001 - it may be gone already, in many ways
        logger.debug("reset: %r", error)
