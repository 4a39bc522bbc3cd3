"""What py-libp2p 0.8.1 needs to survive its peers, and to be fast enough.

Each class and patch names the fault it closes; tests/p2p/test_hardening.py has a test for each. They replace private names,
so libp2p is pinned to this one version.
"""

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from google.protobuf.message import DecodeError
from libp2p.abc import IHost, INetStream, IPeerStore
from libp2p.exceptions import ParseError
from libp2p.host import basic_host
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.identity.identify_push import identify_push
from libp2p.io.exceptions import MessageTooLarge
from libp2p.io.trio import TrioTCPStream
from libp2p.network import swarm as swarm_module
from libp2p.network.auto_connector import AutoConnector
from libp2p.network.connection import swarm_connection
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.id import ID
from libp2p.pubsub import gossipsub as gossipsub_module
from libp2p.pubsub import pubsub as pubsub_module
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.rpc_queue import RpcQueue
from libp2p.stream_muxer import muxer_multistream
from libp2p.stream_muxer.yamux import yamux as yamux_module

from espeer.errors import FrameTooLarge, ProtocolError
from espeer.p2p.door import Blame
from espeer.p2p.muxer import MAX_WINDOW, SafeYamux
from espeer.p2p.private import PrivateConnection
from espeer.p2p.streams import reset

OUTBOUND_QUEUE: Final = 256
"""Gossip messages that may wait for one slow peer."""
OUTBOUND_BYTES: Final = 4 * 1024 * 1024
"""How many bytes these may have."""
_MAX_VARINT: Final = 10
_CHUNK: Final = 64 * 1024

logger = logging.getLogger("espeer.libp2p")

StreamHandler = Callable[[INetStream], Awaitable[None]]


def guard(handler: StreamHandler, blame: Blame = lambda _peer_id, _error: None) -> StreamHandler:
    """``handler``, whose exceptions reset the stream and go no further; those that show garbage are the peer's fault.

    Fault closed: an exception that leaves a stream handler, libp2p's own included, ends the whole network service. Garbage
    on the pubsub protocol is enough for one.
    """

    @functools.wraps(handler)
    async def guarded(stream: INetStream) -> None:
        try:
            await handler(stream)
        except Exception as error:  # noqa: BLE001 - whatever a peer can provoke must stay with that peer's stream
            peer_id = str(stream.muxed_conn.peer_id)
            logger.debug("stream from %s: %r", peer_id, error)
            if isinstance(error, MessageTooLarge):
                blame(peer_id, FrameTooLarge(str(error)))
            elif isinstance(error, (DecodeError, ParseError, UnicodeDecodeError)):
                blame(peer_id, ProtocolError(f"sent garbage on {stream.get_protocol()}"))
            await reset(stream)

    return guarded


class IdleConnector(AutoConnector):
    """Dials nobody. Fault closed: even with a low watermark of 0 libp2p dials every peer it ever heard an address of."""

    async def maybe_connect(self) -> None:
        """Leave it to our dialer."""

    def record_disconnect(self, peer_id: ID) -> None:
        """Remember nothing. Fault closed: every peer that ever was here would be remembered."""


class _Queue(RpcQueue):
    """Faults closed: a burst of more than 32 messages to one peer is dropped, with no parameter for it; bytes have no bound."""

    def __init__(self) -> None:
        super().__init__(OUTBOUND_QUEUE)
        self._bytes = 0

    def push(self, rpc: rpc_pb2.RPC, priority: bool = False) -> bool:
        """Take an RPC if there is room."""
        size = rpc.ByteSize()
        if self._bytes + size > OUTBOUND_BYTES or not super().push(rpc, priority):
            return False
        self._bytes += size
        return True

    async def pop(self) -> rpc_pb2.RPC | None:
        """Wait for the next RPC; None once the queue is closed."""
        rpc = await super().pop()
        if rpc is not None:
            self._bytes -= rpc.ByteSize()
        return rpc


async def read_prefixed(stream: INetStream, limit: int) -> bytes:
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


def _remote_address(stream: TrioTCPStream) -> tuple[str, int] | None:
    """The other end's IP address and port. Fault closed: over IPv6 the stock method finds none."""
    if stream._cached_remote_address is None:  # noqa: SLF001 - it must be kept: a closed socket does not tell it
        try:
            host, port, *_ = stream.stream.socket.getpeername()
        except (OSError, ValueError):
            return None
        stream._cached_remote_address = (str(host), int(port))  # noqa: SLF001
    return stream._cached_remote_address  # noqa: SLF001


def _no_record(_host: IHost) -> tuple[bytes, bool]:
    return b"", False


async def _forget(_peerstore: IPeerStore, _peer_id: ID, _identify: Identify) -> None:
    """Keep nothing of what a peer says of itself: whatever we need we agree on by stream, or hear in a greeting.

    Fault closed: it is kept when the peer is gone, up to 3 MB for each name that a peer cares to come under.
    """


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
        (pubsub_module, "RpcQueue", _Queue),
        # Fault closed: every RPC carries, and its reader verifies, a freshly signed peer record.
        (pubsub_module, "env_to_send_in_RPC", _no_record),
        (gossipsub_module, "env_to_send_in_RPC", _no_record),
        (TrioTCPStream, "get_remote_address", _remote_address),
        # Fault closed: private networks of py-libp2p alone, see espeer.p2p.private.
        (swarm_module, "new_protected_conn", lambda connection, psk: PrivateConnection(connection, bytes.fromhex(psk))),
        (muxer_multistream, "Yamux", SafeYamux),
        # Fault closed: a peer may make its window, and a frame, of 16 MiB.
        (yamux_module, "MAX_WINDOW_SIZE", MAX_WINDOW),
        (basic_host, "update_peerstore_from_identify", _forget),
        (identify_push, "update_peerstore_from_identify", _forget),
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
