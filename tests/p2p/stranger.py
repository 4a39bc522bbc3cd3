"""A peer that speaks libp2p but keeps to no rules."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from libp2p import new_host
from libp2p.abc import IHost, INetStream
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub.pb import rpc_pb2
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as Noise
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.utils import encode_varint_prefixed
from multiaddr import Multiaddr
from replicas import PATIENCE, Peer, identity

MESHSUB = "/meshsub/1.1.0"
SYNC = "/espeer/1/test/sync/2"
TOPIC = "/espeer/1/test/biology"


class Stranger:
    def __init__(self, host: IHost, key_pair: KeyPair, target: Peer) -> None:
        self.host = host
        self.key_pair = key_pair
        self._target = info_from_p2p_addr(Multiaddr(target.address))
        self._sent = 0

    async def open(self, protocol: str) -> INetStream:
        with trio.fail_after(PATIENCE):
            await self.host.connect(self._target)
            return await self.host.new_stream(self._target.peer_id, [TProtocol(protocol)])

    def message(self, data: bytes, *topics: str) -> rpc_pb2.Message:
        """A gossip message that is signed as it should be."""
        self._sent += 1
        message = rpc_pb2.Message(
            data=data,
            topicIDs=topics or (TOPIC,),
            from_id=self.host.get_id().to_bytes(),
            seqno=self._sent.to_bytes(8, "big"),
        )
        message.signature = self.key_pair.private_key.sign(b"libp2p-pubsub:" + message.SerializeToString())
        message.key = self.key_pair.public_key.serialize()
        return message


@asynccontextmanager
async def stranger(target: Peer, seed: int = 66) -> AsyncIterator[Stranger]:
    key_pair = identity(seed).key_pair
    host = new_host(
        key_pair=key_pair,
        sec_opt={NOISE: Noise(key_pair, noise_privkey=create_new_key_pair().private_key)},
        muxer_opt={TProtocol(YAMUX): Yamux},
    )
    async with host.run([]):
        yield Stranger(host, key_pair, target)
        with trio.CancelScope(shield=True), trio.move_on_after(2):
            await host.close()


def rpc(*messages: rpc_pb2.Message, **fields: object) -> bytes:
    return encode_varint_prefixed(rpc_pb2.RPC(publish=messages, **fields).SerializeToString())


async def until_reset(stream: INetStream) -> None:
    """Wait until the other side ends the stream."""
    with trio.fail_after(PATIENCE):
        try:
            while await stream.read(65536):
                pass
        except Exception:  # noqa: BLE001 - any way of ending will do
            pass
