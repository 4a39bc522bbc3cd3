"""GossipSub for small meshes, that its peers can neither fill nor steer."""

from collections.abc import Callable
from typing import Any, Final

import trio
from libp2p.custom_types import MessageID, TProtocol
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.score import ScoreParams
from libp2p.pubsub.utils import safe_bytes_from_hex

from espeer.errors import BrokenPromise
from espeer.p2p.door import Blame
from espeer.p2p.trust import LIMIT

PROTOCOLS: Final = (TProtocol("/meshsub/1.1.0"), TProtocol("/meshsub/1.0.0"))  # 1.2 sends an IDONTWANT per message and peer
MAX_WANTED: Final = 500
"""How many messages are asked for at an IHAVE."""
MAX_BACK_OFF: Final = 256
"""How many peers may be in backoff on a topic before those that are not there are forgotten."""
PROMISE_SECONDS: Final = 30.0
"""How long a peer may take to give a message that it said it has. One at a time is waited for."""


class SafeGossipSub(GossipSub):
    """GossipSub that gossips to pruned peers too, and keeps nothing that a peer makes up.

    :param score: a peer's score with us, see :class:`~espeer.p2p.trust.Reputation`. libp2p's own scoring is left off: it
        forgets a peer that hangs up, and its gates for one topic do not look at the application's score. That score only
        keeps a peer out of the mesh when it is half way to a ban.
    """

    _gossiping = False

    def __init__(self, *, blame: Blame, score: Callable[[str], float]) -> None:
        super().__init__(
            protocols=PROTOCOLS,
            degree=4,
            degree_low=2,
            degree_high=8,
            heartbeat_interval=1,
            adaptive_gossip_enabled=False,  # it stretches the heartbeat to 30 s and more
            spam_protection_enabled=False,  # it drops our own messages, too
            eclipse_protection_enabled=False,
            score_params=ScoreParams(
                p6_appl_slack_weight=1.0,
                app_specific_score_fn=lambda peer: -score(str(peer)),
                graylist_threshold=-LIMIT / 2,
            ),
        )
        self.max_iwant_requests_per_second = 100.0  # one a topic and heartbeat, and there may be 64 topics
        self._blame = blame
        self._promises: dict[ID, tuple[bytes, float]] = {}

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
            self._forget_back_off()

    def _forget_back_off(self) -> None:
        """Fault closed: backoff is kept for ever of each peer that ever sent a PRUNE, for as long as it cared to say."""
        for topic, peers in self.back_off.items():
            if len(peers) > MAX_BACK_OFF:
                self.back_off[topic] = {peer: until for peer, until in peers.items() if peer in self.peer_protocol}

    def _get_in_topic_gossipsub_peers_from_minus(
        self, topic: str, num_to_select: int, minus: Any, backoff_check: bool = False
    ) -> list[ID]:
        """Select peers. Fault closed: IHAVE skips peers in prune backoff, so a pruned leaf gets nothing at all."""
        backoff_check = backoff_check and not self._gossiping
        return super()._get_in_topic_gossipsub_peers_from_minus(topic, num_to_select, minus, backoff_check)

    async def handle_graft(self, graft_msg: rpc_pb2.ControlGraft, sender_peer_id: ID) -> None:
        """Enter the mesh of a peer. Fault closed: scores are kept for any topic a peer cares to make up."""
        if graft_msg.topicID in self.mesh:
            await super().handle_graft(graft_msg, sender_peer_id)

    async def handle_prune(self, prune_msg: rpc_pb2.ControlPrune, sender_peer_id: ID) -> None:
        """Leave the mesh of a peer. Fault closed: backoff is kept for any topic a peer cares to make up."""
        if prune_msg.topicID in self.mesh:
            await super().handle_prune(prune_msg, sender_peer_id)

    async def handle_ihave(self, ihave_msg: rpc_pb2.ControlIHave, sender_peer_id: ID) -> None:
        """Ask for some of what is new.

        Faults closed: rate limits are kept for any topic a peer cares to make up, and we ask for as much as it makes up.
        """
        if ihave_msg.topicID not in self.mesh or not self._check_ihave_rate_limit(sender_peer_id, ihave_msg.topicID):
            return
        self._check_promise(sender_peer_id)
        wanted: list[MessageID] = []
        for name in ihave_msg.messageIDs:
            if len(wanted) == MAX_WANTED:
                break
            if (
                (id_ := safe_bytes_from_hex(name)) is not None
                and self.pubsub is not None
                and not self.pubsub.seen_messages.has(id_)
            ):
                wanted.append(MessageID(id_))
        if wanted:
            self._promises.setdefault(sender_peer_id, (wanted[0], trio.current_time() + PROMISE_SECONDS))
            await self.emit_iwant(wanted, sender_peer_id)

    def came(self, message_id: bytes) -> None:
        """Note that a message came, whatever it was worth: who promised it kept its word, whoever brought it."""
        for peer, (promised, _) in list(self._promises.items()):
            if promised == message_id:
                del self._promises[peer]

    def _check_promise(self, peer: ID) -> None:
        """See whether a message that the peer said it has is overdue."""
        _, due = self._promises.get(peer, (b"", float("inf")))
        if trio.current_time() > due:
            del self._promises[peer]
            self._blame(str(peer), BrokenPromise("does not send the messages that it says it has"))

    def remove_peer(self, peer_id: ID) -> None:
        """Forget a peer that is gone."""
        super().remove_peer(peer_id)
        self._promises.pop(peer_id, None)

    async def _do_px(self, px_peers: list[rpc_pb2.PeerInfo]) -> None:
        """Ignore peers offered with a PRUNE. Fault closed: we would dial whatever a peer says; the dialer has bounds."""
