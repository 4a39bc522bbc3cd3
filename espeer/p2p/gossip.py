"""Gossip: the fast path of new records, one topic per type. What it drops, sync brings."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import trio
from libp2p.abc import ISubscriptionAPI
from libp2p.pubsub.pb import rpc_pb2

from espeer.errors import EspeerError, ProtocolError
from espeer.log import get_logger
from espeer.p2p.host import Node
from espeer.p2p.local import Local
from espeer.p2p.outbox import Outbox, Pace
from espeer.p2p.pubsub import Verdict
from espeer.p2p.screen import Screen
from espeer.p2p.wire import encode_batch
from espeer.records import SignedRecord

OUTBOX: Final = 4096
"""How many records may wait to be published."""
INBOX: Final = 256
"""How many gossip messages may wait for the door: 16 MiB at the most."""
RATE: Final = 2.0
"""Messages published per second. What is made meanwhile goes out together: a message costs far more than a record."""
BURST: Final = 3
AT_ONCE: Final = 256
"""How many records are stored in one transaction, if so many wait."""

log = get_logger(__name__)


class Gossip:
    """Publishes and takes records of the types held here."""

    def __init__(self, local: Local) -> None:
        self._local = local
        self._counters = local.counters
        self._outbox = Outbox(OUTBOX)
        self._screen = Screen(now_ms=local.now_ms, counters=local.counters)
        self._inbox_in, self._inbox_out = trio.open_memory_channel[list[SignedRecord]](INBOX)

    def accepts(self, topic: str) -> bool:
        """Whether it is one of our network's topics."""
        return self._local.type_of(topic) is not None

    def publish(self, records: Sequence[SignedRecord]) -> None:
        """Queue records; what the queue has no room for is dropped and counted. Never waits."""
        self._counters.dropped += self._outbox.put(records)

    async def run(self, node: Node, *, task_status: trio.TaskStatus[None]) -> None:
        """Gossip over ``node`` until cancelled; started once subscribed."""
        async with trio.open_nursery() as nursery:
            for name in self._local.types:
                nursery.start_soon(_drain, await node.pubsub.subscribe(self._local.topic(name)))
            nursery.start_soon(self._deliver)
            nursery.start_soon(self._publish, node)
            task_status.started()
            await trio.sleep_forever()

    def judge(self, forwarder: str, message: rpc_pb2.Message) -> Verdict:
        """Judge a message and hand what is good to the door; see :data:`~espeer.p2p.pubsub.Judge`."""
        try:
            if len(message.topicIDs) != 1 or (name := self._local.type_of(message.topicIDs[0])) is None:
                raise ProtocolError("a gossip message is not on one of our topics alone")
            verdict, batch = self._screen.judge(forwarder, message, name)
        except EspeerError:
            self._counters.rejected += 1
            raise
        if batch:
            try:
                self._inbox_in.send_nowait(batch)
            except trio.WouldBlock:
                self._counters.dropped += len(batch)
        return verdict

    async def _deliver(self) -> None:
        async for first in self._inbox_out:
            batch = first
            with suppress(trio.WouldBlock):
                while len(batch) < AT_ONCE:
                    batch = batch + self._inbox_out.receive_nowait()
            try:
                new = await self._local.door.add(batch, via="gossip")
            except EspeerError as error:
                log.warning("gossip not stored", reason=str(error))
            except Exception:  # a fault of the door's, which must not end the gossip of others
                log.exception("gossip not stored")
            else:
                self._counters.delivered += new
                self._counters.duplicates += len(batch) - new

    async def _publish(self, node: Node) -> None:
        pace = Pace(RATE, BURST)
        while True:
            name, batch = await self._outbox.take()
            self._screen.note(batch)
            for message in encode_batch(batch):
                await pace.wait()
                await node.pubsub.publish(self._local.topic(name), message)
            self._counters.published += len(batch)


async def _drain(subscription: ISubscriptionAPI) -> None:
    """Take what libp2p puts into the subscription, so that it does not log that it is full."""
    async for _ in subscription:
        pass
