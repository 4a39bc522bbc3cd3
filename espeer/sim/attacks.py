"""What a bad peer does to a node: one function for each kind of attack, over a libp2p host that keeps to no rules.

Each runs until it is cancelled, thrown out (any exception), or has done as much as it may: nothing here is without a bound.
"""

import random
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import msgpack
import trio
from libp2p.abc import IHost, INetStream
from libp2p.custom_types import TProtocol
from libp2p.peer.peerinfo import PeerInfo
from libp2p.pubsub.pb import rpc_pb2
from libp2p.stream_muxer.yamux.yamux import FLAG_SYN, TYPE_DATA, TYPE_PING, TYPE_WINDOW_UPDATE, YAMUX_HEADER_FORMAT, Yamux
from libp2p.utils import encode_varint_prefixed

from espeer import records
from espeer.p2p.identity import Identity
from espeer.p2p.wire import encode_batch
from espeer.records import Experience, SignedRecord

MESHSUB: Final = "/meshsub/1.1.0"
FOREIGN: Final = ("/ipfs/id/push/1.0.0", "/ipfs/id/1.0.0", "/ipfs/ping/1.0.0")
OWN: Final = ("sync/2", "hello/1", "recall/1", "submit/1")
MOST_BYTES: Final = 256 * 1024 * 1024
"""No attacker sends more, over all its sessions."""
IHAVES: Final = 100_000
STREAMS: Final = 1000
_OPEN_SECONDS: Final = 5.0
_CHUNK: Final = 60 * 1024


class ThrownOut(Exception):
    """The target has ended the connection."""


class Enough(Exception):
    """The attacker has sent as much as it may."""


@dataclass(slots=True)
class Tally:
    """What the attacker got done.

    :ivar messages: gossip messages, frames or control messages that were sent.
    :ivar streams: streams that were opened.
    :ivar sent: bytes, roughly.
    """

    messages: int = 0
    streams: int = 0
    sent: int = 0


@dataclass(slots=True)
class Session:
    """A connection of the attacker to its target.

    :ivar topic: a gossip topic that the target is subscribed to.
    :ivar kind: the type of that topic.
    """

    host: IHost
    identity: Identity
    target: PeerInfo
    network: str
    kind: str
    rng: random.Random
    tally: Tally
    seqno: int = field(default_factory=time.time_ns)

    @property
    def topic(self) -> str:
        """The topic of the type."""
        return f"/espeer/1/{self.network}/{self.kind}"

    @property
    def muxer(self) -> Yamux:
        """The connection below the streams."""
        for connection in self.host.get_network().get_connections(self.target.peer_id):
            if isinstance(connection.muxed_conn, Yamux):
                return connection.muxed_conn
        raise ThrownOut

    async def open(self, protocol: str) -> INetStream:
        """Open a stream."""
        with trio.fail_after(_OPEN_SECONDS):
            stream = await self.host.new_stream(self.target.peer_id, [TProtocol(protocol)])
        self.tally.streams += 1
        return stream

    async def send(self, stream: INetStream, data: bytes) -> None:
        """Write, and count it."""
        await stream.write(data)
        self._count(len(data))

    async def frame(self, kind: int, flags: int, stream_id: int, length: int, body: bytes = b"") -> None:
        """Write a frame of the muxer as it stands."""
        await self.muxer.secured_conn.write(struct.pack(YAMUX_HEADER_FORMAT, 0, kind, flags, stream_id, length) + body)
        self._count(len(body))

    def _count(self, size: int) -> None:
        self.tally.messages += 1
        self.tally.sent += size
        if self.tally.sent > MOST_BYTES:
            raise Enough

    def record(self, number: int, kind: str, author: Identity | None = None) -> SignedRecord:
        """A record that is as it should be."""
        author = author or self.identity
        text = f"lesson {number} of {self.rng.random()}: turn it off and on again"
        made = Experience(kind, text, time.time_ns() // 1_000_000, author.public, "attacker", "extractive")
        return records.sign(made, author.sign)

    def message(self, data: bytes) -> bytes:
        """A gossip message, signed as it should be, in the RPC that carries it."""
        self.seqno += 1
        message = rpc_pb2.Message(
            data=data, topicIDs=[self.topic], from_id=self.host.get_id().to_bytes(), seqno=self.seqno.to_bytes(8, "big")
        )
        message.signature = self.identity.key_pair.private_key.sign(b"libp2p-pubsub:" + message.SerializeToString())
        message.key = self.identity.key_pair.public_key.serialize()
        return _rpc(rpc_pb2.RPC(publish=[message]))


async def garbage(session: Session) -> None:
    """Bytes that mean nothing, on every protocol and in place of one."""
    own = [f"/espeer/1/{session.network}/{name}" for name in OWN]
    while True:
        for protocol in (MESHSUB, *own, *FOREIGN):
            try:
                stream = await session.open(protocol)
                await session.send(stream, session.rng.randbytes(session.rng.randrange(1, 4096)))
                await session.send(stream, b"\x20" + session.rng.randbytes(32))
                await stream.close()
            except (trio.TooSlowError, Enough):
                raise
            except Exception:  # noqa: BLE001 - a protocol that it does not speak, or a stream that it reset: on to the next
                session.muxer  # noqa: B018 - raises when the connection is gone, too
                await trio.sleep(0.01)


async def oversized(session: Session) -> None:
    """Frames that announce gigabytes, and more bytes than the muxer's window allows."""
    for protocol, head in ((MESHSUB, b"\xff\xff\xff\xff\x0f"), (f"/espeer/1/{session.network}/sync/2", b"\xff\xff\xff\xff")):
        try:
            stream = await session.open(protocol)
            await session.send(stream, head + bytes(4096))
        except Exception:  # noqa: BLE001 - as above
            await trio.sleep(0.01)
    muxer = session.muxer
    stream_id = muxer.next_stream_id + 2 * STREAMS
    await session.frame(TYPE_WINDOW_UPDATE, FLAG_SYN, stream_id, 0)
    while True:  # a stream that waits for its protocol reads little of this
        await session.frame(TYPE_DATA, 0, stream_id, _CHUNK, bytes(_CHUNK))


async def ihave(session: Session) -> None:
    """IHAVE by the hundred thousand, in large messages and in small ones, and the pings of the muxer besides."""
    stream = await session.open(MESHSUB)
    while True:
        for size in session.rng.sample((IHAVES // 10, 1000, 1), 3):
            ids = [session.rng.randbytes(46).hex().encode() for _ in range(size)]
            for _ in range(10):
                control = rpc_pb2.ControlMessage(ihave=[rpc_pb2.ControlIHave(topicID=session.topic, messageIDs=ids)])
                await session.send(stream, _rpc(rpc_pb2.RPC(control=control)))
        for number in range(1000):
            await session.frame(TYPE_PING, FLAG_SYN, 0, number)


async def forged(session: Session) -> None:
    """Records that their author did not sign, in messages that are signed."""
    stream = await session.open(MESHSUB)
    for number in range(1_000_000):
        body, _ = msgpack.unpackb(records.encode(session.record(number, session.kind)))
        bad = msgpack.packb([msgpack.packb([body, session.rng.randbytes(64)])])
        await session.send(stream, session.message(bad))


async def wrong_type(session: Session) -> None:
    """Good records on the topic of another type."""
    stream = await session.open(MESHSUB)
    for number in range(1_000_000):
        (data,) = encode_batch([session.record(number, "not-" + session.kind[:28])])
        await session.send(stream, session.message(data))


async def replay(session: Session) -> None:
    """The same good records again and again, in messages with new numbers."""
    stream = await session.open(MESHSUB)
    good = [session.record(number, session.kind) for number in range(50)]
    while True:
        for batch in (good, good[:1]):
            (data,) = encode_batch(batch)
            await session.send(stream, session.message(data))


async def flood(session: Session) -> None:
    """Good records without end, each by an author of its own."""
    stream = await session.open(MESHSUB)
    for number in range(1_000_000):
        author = Identity(session.rng.randbytes(32))
        (data,) = encode_batch([session.record(number, session.kind, author)])
        await session.send(stream, session.message(data))


async def slow_reader(session: Session) -> None:
    """Asks for everything and reads nothing: first streams, then the connection itself."""

    async def never_read(_stream: INetStream) -> None:
        await trio.sleep_forever()

    session.host.set_stream_handler(TProtocol(MESHSUB), never_read)
    stream = await session.open(MESHSUB)
    hello = rpc_pb2.RPC(subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid=session.topic)])
    hello.control.graft.add(topicID=session.topic)
    await session.send(stream, _rpc(hello))
    for name in OWN * 4:
        try:
            await session.open(f"/espeer/1/{session.network}/{name}")
        except Exception:  # noqa: BLE001 - as above
            await trio.sleep(0.01)
    await trio.sleep(2)
    connection = session.muxer.secured_conn

    async def read(n: int | None = None) -> bytes:  # noqa: ARG001 - the signature of what it stands for
        await trio.sleep_forever()
        return b""

    connection.read = read  # type: ignore[method-assign] # from here on nothing is read at all
    for number in range(1_000_000):  # each wants an answer that nobody takes
        await session.frame(TYPE_PING, FLAG_SYN, 0, number)


async def streams(session: Session) -> None:
    """A thousand streams that say nothing, and another thousand when these are gone."""
    muxer = session.muxer
    while True:
        for _ in range(STREAMS):
            await session.frame(TYPE_WINDOW_UPDATE, FLAG_SYN, muxer.next_stream_id, 0)
            muxer.next_stream_id += 2
            session.tally.streams += 1
        await trio.sleep(0.5)


KINDS: Final[dict[str, Callable[[Session], Awaitable[None]]]] = {
    "garbage": garbage,
    "oversized": oversized,
    "ihave": ihave,
    "forged": forged,
    "wrong-type": wrong_type,
    "replay": replay,
    "flood": flood,
    "slow-reader": slow_reader,
    "streams": streams,
}


def _rpc(rpc: rpc_pb2.RPC) -> bytes:
    data: bytes = encode_varint_prefixed(rpc.SerializeToString())
    return data
