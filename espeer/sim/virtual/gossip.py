"""Gossip on the simulated network: GossipSub's meshes, its eager push and its IHAVE and IWANT, without its wire format.

The parameters are those of :class:`espeer.p2p.router.SafeGossipSub`. What is simpler: GRAFT and PRUNE take no time, all hosts'
heartbeats are at the same moment, and an IHAVE that brings nothing new is only counted.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

import trio
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX

from espeer.errors import EspeerError
from espeer.p2p.host import Watch
from espeer.p2p.identity import Identity
from espeer.p2p.pubsub import Verdict
from espeer.sim.virtual.link import Link

if TYPE_CHECKING:
    from espeer.sim.virtual.host import Host

DEGREE: Final = 4
DEGREE_LOW: Final = 2
DEGREE_HIGH: Final = 8
WINDOW: Final = 3
"""A message is told of at so many heartbeats."""
BACK_OFF: Final = 60.0
"""Seconds before a peer that was pruned is taken into the mesh again."""
_CHANGE: Final = 60
"""Bytes of a GRAFT, a PRUNE, or a subscription, with its topic."""
_KNOWN: Final = 0.1
"""To see that a message is known takes about so much of what it takes to deal with a new one."""
_NAME: Final = 96
"""Bytes of a message's name in an IHAVE or IWANT."""


@dataclass(frozen=True, slots=True)
class Message:
    """A gossip message, which all hosts share: nobody changes it.

    :ivar size: its bytes on the wire.
    """

    name: bytes
    topic: str
    author: str
    body: rpc_pb2.Message
    size: int


class Pubsub:
    """A host's part of the gossip, as :class:`espeer.p2p.gossip.Gossip` wants it of libp2p.

    :ivar peer_topics: who subscribes to a topic, of the connected peers.
    :ivar mesh: to whom messages of a topic are passed on.
    """

    def __init__(self, host: "Host", identity: Identity, watch: Watch) -> None:
        self.peer_topics: Final[dict[str, set[str]]] = {}
        self.mesh: Final[dict[str, set[str]]] = {}
        self._host = host
        self._identity = identity
        self._watch = watch
        self._numbers = count(1)
        self._seen: set[bytes] = set()
        self._recent: list[tuple[Message, int]] = []
        self._back_off: dict[tuple[str, str], float] = {}
        self._restless = True

    # -- as libp2p's pubsub

    async def subscribe(self, topic: str) -> AsyncIterator[object]:
        """Take part in a topic."""
        await trio.lowlevel.checkpoint()
        self.mesh[topic] = set()
        self._restless = True
        for link in self._host.links.values():
            self._announce(link, topic)
        return _nothing()

    async def publish(self, topic: str, data: bytes) -> None:
        """Sign a message and send it to the mesh."""
        await trio.lowlevel.checkpoint()
        body = rpc_pb2.Message(
            data=data, topicIDs=[topic], from_id=self._host.id.to_bytes(), seqno=next(self._numbers).to_bytes(8, "big")
        )
        body.signature = self._identity.sign(PUBSUB_SIGNING_PREFIX.encode() + body.SerializeToString())
        message = Message(body.from_id + body.seqno, topic, self._host.name, body, body.ByteSize())
        self._seen.add(message.name)
        self._pass_on(message, "")

    # -- between hosts

    def linked(self, link: Link) -> None:
        """Tell a new peer what we subscribe to."""
        for topic in self.mesh:
            self._announce(link, topic)

    def unlinked(self, name: str) -> None:
        """Forget a peer."""
        self._restless = True
        for peers in (*self.peer_topics.values(), *self.mesh.values()):
            peers.discard(name)

    def arrive(self, forwarder: str, message: Message) -> None:
        """Take a message that has arrived, when its turn has come."""
        if message.name in self._seen:
            self._host.attend(_KNOWN)
        else:
            self._host.attend(1.0, lambda: self._take(forwarder, message))

    def _take(self, forwarder: str, message: Message) -> None:
        """Take a message, and pass it on if it is good: see :meth:`espeer.p2p.pubsub.SafePubsub.push_msg`."""
        if message.name in self._seen or message.author == self._host.name or message.topic not in self.mesh:
            return
        if self._watch.banned(forwarder):
            return
        try:
            verdict = self._watch.judge(forwarder, message.body)
        except EspeerError as error:
            self._watch.blame(forwarder, error)
            return
        if verdict is not Verdict.IGNORE:
            self._seen.add(message.name)
        if verdict is Verdict.FORWARD:
            self._pass_on(message, forwarder)

    def beat(self) -> None:
        """Do what is to be done at a heartbeat."""
        if self._restless:
            self._restless = False
            for topic in self.mesh:
                self._mend(topic)
        if self._recent:
            self._tell_of_recent()

    def grafted(self, topic: str, name: str) -> None:
        """Have a peer in the mesh that took us into its own."""
        if topic in self.mesh:
            self.mesh[topic].add(name)
            self._restless |= len(self.mesh[topic]) > DEGREE_HIGH

    def pruned(self, topic: str, name: str) -> None:
        """Have a peer in the mesh no more."""
        self.mesh[topic].discard(name)
        self._back_off[topic, name] = trio.current_time() + BACK_OFF
        self._restless |= len(self.mesh[topic]) < DEGREE_LOW

    def _announce(self, link: Link, topic: str) -> None:
        other = link.other(self._host)
        seconds = link.seconds(self._host, _CHANGE)
        self._host.network.timetable.after(seconds, lambda: other.pubsub.heard(link, self._host.name, topic))

    def heard(self, link: Link, name: str, topic: str) -> None:
        """Take note of a peer's subscription."""
        if link.up and self._watch.accepts(topic):
            self.peer_topics.setdefault(topic, set()).add(name)
            self._restless = True
            self._watch.subscribed(name, topic)

    def _pass_on(self, message: Message, forwarder: str) -> None:
        self._recent.append((message, WINDOW))
        for name in self.mesh[message.topic] - {forwarder, message.author}:
            self._send(self._host.links[name], message)

    def _send(self, link: Link, message: Message) -> None:
        other, name = link.other(self._host).pubsub, self._host.name
        link.carry(self._host, message.size, lambda: other.arrive(name, message))

    def _mend(self, topic: str) -> None:
        mesh = self.mesh[topic]
        if len(mesh) < DEGREE_LOW:
            now = trio.current_time()
            others = self._others(topic)
            free = [name for name in others if self._back_off.get((topic, name), 0.0) <= now]
            self._restless |= len(free) < len(others)
            for name in self._sample(free, DEGREE - len(mesh)):
                self._change(name).grafted(topic, self._host.name)
                mesh.add(name)
        elif len(mesh) > DEGREE_HIGH:
            for name in self._sample(sorted(mesh), len(mesh) - DEGREE):
                self.pruned(topic, name)
                self._change(name).pruned(topic, self._host.name)

    def _change(self, name: str) -> "Pubsub":
        other = self._host.links[name].other(self._host)
        self._host.sent(_CHANGE, other, control=True)
        return other.pubsub

    def _others(self, topic: str) -> list[str]:
        """The connected peers that subscribe to a topic and are not in our mesh."""
        return sorted(self.peer_topics.get(topic, set()) - self.mesh[topic])

    def _sample(self, names: list[str], most: int) -> list[str]:
        return self._host.rng.sample(names, min(most, len(names)))

    def _tell_of_recent(self) -> None:
        for topic in self.mesh:
            messages = [message for message, _ in self._recent if message.topic == topic]
            if messages:
                for name in self._sample(self._others(topic), DEGREE):
                    self._tell(self._host.links[name], messages)
        self._recent = [(message, left - 1) for message, left in self._recent if left > 1]

    def _tell(self, link: Link, messages: list[Message]) -> None:
        """IHAVE: what the peer has not seen when it comes, it asks for (IWANT), and is sent."""
        other = link.other(self._host)
        if all(message.name in other.pubsub._seen for message in messages):  # noqa: SLF001 - of its own class
            self._host.sent(_CHANGE + _NAME * len(messages), other, control=True)
            return

        def told() -> None:
            wanted = [message for message in messages if message.name not in other.pubsub._seen]  # noqa: SLF001 - as above
            if wanted:
                link.carry(other, _CHANGE + _NAME * len(wanted), lambda: asked(wanted), control=True)

        def asked(wanted: list[Message]) -> None:
            for message in wanted:
                self._send(link, message)

        link.carry(self._host, _CHANGE + _NAME * len(messages), told, control=True)


async def _nothing() -> AsyncIterator[object]:
    """Wait for ever: the messages go to the judge."""
    await trio.sleep_forever()
    yield
