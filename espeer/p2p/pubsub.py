"""Pubsub that outlives its peers: reads them at a bounded pace, judges before it passes on, and tells on who misbehaves."""

import time
from collections.abc import Callable
from enum import Enum
from typing import Final

import trio
from google.protobuf.message import DecodeError
from libp2p.abc import IHost, INetStream
from libp2p.io.exceptions import MessageTooLarge
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub

from espeer.errors import EspeerError, Flooding, FrameTooLarge, ProtocolError, SlowReader
from espeer.p2p.door import Blame
from espeer.p2p.hardening import logger, read_prefixed
from espeer.p2p.limits import Buckets
from espeer.p2p.router import SafeGossipSub

MAX_RPC: Final = 1024 * 1024
"""The most bytes of one RPC of gossipsub."""
MAX_MESSAGES: Final = 1024
"""The most messages in one RPC, and the most subscriptions."""
MAX_CONTROL: Final = 5000
"""The most message ids that one RPC may name, and the most GRAFTs and PRUNEs."""
RATE: Final = 200.0
BURST: Final = 1000.0
"""How much is read of a peer a second. What it costs: each message 1, each 16 KiB 1, each GRAFT or PRUNE 1, each id that it
wants 0.5, each id that it has 0.01. Who sends more is read more slowly; nothing is lost by that."""
STALL_SECONDS: Final = 4.5
"""libp2p gives up on a peer that opens no window for 5 s."""

_COST_BYTES: Final = 16 * 1024
_COST_WANTED: Final = 0.5
_COST_NAMED: Final = 0.01


class Verdict(Enum):
    """What becomes of a message that breaks no rule."""

    FORWARD = "forward"
    """It is taken and passed on."""
    KEEP = "keep"
    """It is taken and not passed on."""
    IGNORE = "ignore"
    """It is not even taken, and the same message may come again."""


Judge = Callable[[str, rpc_pb2.Message], Verdict]
"""Judges a message that a peer (by its id) brought, on at least one of our topics. Takes what is to be taken.

:raises EspeerError: it breaks a rule.
"""


class SafePubsub(Pubsub):
    """Pubsub that outlives malformed messages.

    :param accepts: which topics' subscriptions are remembered. Fault closed: a peer could fill our memory with topic names.
    :param subscribed: told of each of these, by the peer and the topic.
    :param judge: judges others' messages, their signature too.
    :param banned: who is not listened to. Asked for the blacklist, so that no ban needs to be lifted here.
    """

    def __init__(
        self,
        host: IHost,
        router: SafeGossipSub,
        *,
        accepts: Callable[[str], bool],
        subscribed: Callable[[str, str], None],
        judge: Judge,
        blame: Blame,
        banned: Callable[[str], bool],
    ) -> None:
        super().__init__(host, router, strict_signing=True)
        # Fault closed: sequence numbers start at the second of the start, so what a restarted publisher sends counts as
        # already seen.
        self.counter = time.time_ns()
        self._came = router.came
        self._accepts = accepts
        self._subscribed = subscribed
        self._judge = judge
        self._blame = blame
        self._banned = banned
        self._shares = Buckets[str](RATE, BURST)

    def is_peer_blacklisted(self, peer_id: ID) -> bool:
        """Whether the peer is banned."""
        return self._banned(str(peer_id))

    async def continuously_read_stream(self, stream: INetStream) -> None:
        """Read a peer's RPCs, one after the other, until the stream ends.

        Fault closed: the stock reader starts a task for each message, however many come.
        """
        peer = stream.muxed_conn.peer_id
        try:
            while self.manager.is_running and not self.is_peer_blacklisted(peer):
                data = await read_prefixed(stream, MAX_RPC)
                rpc = rpc_pb2.RPC()
                rpc.ParseFromString(data)
                await self._take(peer, rpc, len(data))
        except StreamEOF:
            pass
        except MessageTooLarge as error:
            self._blame(str(peer), FrameTooLarge(str(error)))
            await stream.reset()
        except DecodeError as error:
            self._blame(str(peer), ProtocolError(f"a gossip frame is no RPC: {error}"))
            await stream.reset()
        except ProtocolError as error:
            self._blame(str(peer), error)
            await stream.reset()

    async def _take(self, peer: ID, rpc: rpc_pb2.RPC, size: int) -> None:
        """Deal with an RPC once the peer's share allows it.

        :raises Flooding: it holds more of something than any peer has use for.
        """
        control = rpc.control
        named = sum(len(part.messageIDs) for part in control.ihave) + sum(len(part.messageIDs) for part in control.idontwant)
        wanted = sum(len(part.messageIDs) for part in control.iwant)
        changes = len(control.graft) + len(control.prune)
        if len(rpc.publish) > MAX_MESSAGES or len(rpc.subscriptions) > MAX_MESSAGES:
            raise Flooding(f"an RPC of {len(rpc.publish)} messages and {len(rpc.subscriptions)} subscriptions")
        if named + wanted + changes > MAX_CONTROL:
            raise Flooding(f"an RPC of {named + wanted} message ids and {changes} changes of the mesh")
        cost = len(rpc.publish) + size / _COST_BYTES + changes + _COST_WANTED * wanted + _COST_NAMED * named
        await trio.sleep(self._shares.owe(str(peer), trio.current_time(), cost))
        for message in rpc.publish:
            if self._is_subscribed_to_msg(message):
                await self.push_msg(peer, message)
        if not self._peer_is_connected(peer):  # it went while it waited: nothing would ever forget what is noted of it now
            return
        for subscription in rpc.subscriptions:
            self.handle_subscription(peer, subscription)
        if rpc.HasField("control"):
            await self.router.handle_rpc(rpc, peer)

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        """Take a message. Fault closed: a bad ``from`` or ``key``, or a validator that raises, ends the whole service."""
        if msg_forwarder == self.my_id:
            await super().push_msg(msg_forwarder, msg)
            return
        if self._is_msg_seen(msg) or msg.from_id == self.my_id.to_bytes():
            return
        self._came(self.get_message_id(msg))
        try:
            verdict = self._judge(str(msg_forwarder), msg)
        except EspeerError as error:
            self._blame(str(msg_forwarder), error)
            return
        except Exception:  # noqa: BLE001 - a fault of ours, which must not end the gossip of others
            logger.exception("a gossip message from %s could not be judged", msg_forwarder)
            return
        if verdict is not Verdict.IGNORE:  # who ignores what is not verified must not let it stand for what may come
            self._mark_msg_seen(msg)
        if verdict is Verdict.FORWARD:
            await self.router.publish(msg_forwarder, msg)

    def handle_subscription(self, origin_id: ID, sub_message: rpc_pb2.RPC.SubOpts) -> None:
        """Note a peer's subscription, if it is to one of our topics."""
        if self._accepts(sub_message.topicid):
            super().handle_subscription(origin_id, sub_message)
            if sub_message.subscribe:
                self._subscribed(str(origin_id), sub_message.topicid)

    def _handle_dead_peer(self, peer_id: ID) -> None:
        """Forget a peer. Fault closed: of one that sends gossip and takes none the router never forgets anything."""
        super()._handle_dead_peer(peer_id)
        if not self._peer_is_connected(peer_id):
            self.router.remove_peer(peer_id)

    def get_hello_packet(self) -> rpc_pb2.RPC:
        """Greet a peer, without the empty peer record that hardening leaves (others would refuse the packet for it)."""
        packet = super().get_hello_packet()
        packet.ClearField("senderRecord")
        return packet

    async def write_msg(self, stream: INetStream, rpc_msg: rpc_pb2.RPC) -> bool:
        """Send an RPC, without the empty peer record, as in :meth:`get_hello_packet`."""
        rpc_msg.ClearField("senderRecord")
        started = trio.current_time()
        sent = await super().write_msg(stream, rpc_msg)
        if not sent and trio.current_time() - started > STALL_SECONDS:
            self._blame(str(stream.muxed_conn.peer_id), SlowReader("does not read its gossip"))
        return sent
