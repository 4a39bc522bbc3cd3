"""A replica in memory, records to put into it, and swarms around it: what the tests of espeer.p2p share."""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import trio
from libp2p.peer.id import ID

from espeer.keys import Keys, KeySet, Offer, key_of
from espeer.p2p.door import Found
from espeer.p2p.identity import Identity
from espeer.p2p.swarm import Swarm, SwarmSettings
from espeer.records import Experience, SignedRecord, encode, sign

PATIENCE = 15.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def until(condition: Callable[[], object]) -> None:
    """Wait for what nobody sets an event for."""
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 - see above
            await trio.sleep(0.01)


def identity(seed: int) -> Identity:
    return Identity(seed.to_bytes(32, "big"))


def record(number: int, *, kind: str = "biology", author: Identity | None = None, created: int | None = None) -> SignedRecord:
    author = author or identity(7)
    created = now_ms() if created is None else created
    text = f"lesson {number}: check the fuse before the pump"
    return sign(Experience(kind, text, created, author.public, "test-model", "extractive"), author.sign)


def records(count: int, *, kind: str = "biology", start: int = 0) -> list[SignedRecord]:
    return [record(number, kind=kind) for number in range(start, start + count)]


class MemoryDoor:
    """A Door that keeps records in a dict and wakes who waits for them."""

    def __init__(self, held: Sequence[SignedRecord] = ()) -> None:
        self.held = {signed.id: signed for signed in held}
        self.via: dict[bytes, str] = {}
        self.gone: set[bytes] = set()
        self.failure: Exception | None = None
        self.refused = trio.Event()
        self._changed = trio.Event()

    async def add(self, records: Sequence[SignedRecord], *, via: str) -> int:
        await trio.lowlevel.checkpoint()
        if self.failure is not None:
            self.refused.set()
            raise self.failure
        before = len(self.held)
        for signed in records:
            self.held.setdefault(signed.id, signed)
            self.via.setdefault(signed.id, via)
        self._changed.set()
        self._changed = trio.Event()
        return len(self.held) - before

    async def keys(self, type: str) -> Keys:
        await trio.lowlevel.checkpoint()
        return KeySet(key_of(s.record.created, s.id) for s in self.held.values() if s.record.type == type).snapshot()

    async def unknown(self, ids: Sequence[bytes]) -> list[bytes]:
        await trio.lowlevel.checkpoint()
        return [id_ for id_ in ids if id_ not in self.held]

    async def offer(self, type: str, ids: Sequence[bytes]) -> Offer:
        await trio.lowlevel.checkpoint()
        asked = [self.held[id_] for id_ in ids if id_ in self.held and self.held[id_].record.type == type]
        gone = [key_of(signed.record.created, signed.id) for signed in asked if signed.id in self.gone]
        return Offer([encode(signed) for signed in asked if signed.id not in self.gone], gone)

    async def withheld(self, type: str, ids: Sequence[bytes]) -> list[bytes]:
        return (await self.offer(type, ids)).gone

    async def recall(self, query: str, k: int, types: Sequence[str]) -> list[Found]:
        await trio.lowlevel.checkpoint()
        words = set(query.split())
        fitting = [signed for signed in self.held.values() if signed.record.type in types]
        scored = [Found(signed, float(len(words & set(signed.record.text.split())))) for signed in fitting]
        return sorted((found for found in scored if found.score), key=lambda found: -found.score)[:k]

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE):
            while not condition():
                await self._changed.wait()

    async def until_holds(self, wanted: Sequence[SignedRecord]) -> None:
        await self.until(lambda: all(signed.id in self.held for signed in wanted))


class Peer:
    """A swarm with its door."""

    def __init__(
        self,
        seed: int,
        *bootstrap: str,
        held: Sequence[SignedRecord] = (),
        types: Sequence[str] = ("biology", "networking"),
        listen: str | None = "/ip4/127.0.0.1/tcp/0",
        network: str = "test",
        **settings: Any,
    ) -> None:
        self.door = MemoryDoor(held)
        self.identity = identity(seed)
        self._ended = trio.Event()
        self.swarm = Swarm(
            self.identity,
            self.door,
            SwarmSettings(
                network=network, types=types, listen=[] if listen is None else [listen], bootstrap=bootstrap, **settings
            ),
            clock=now_ms,
            rng=random.Random(seed),
        )

    @property
    def address(self) -> str:
        (address,) = self.swarm.addresses()
        return address

    def connected(self) -> set[str]:
        return {view.peer_id for view in self.swarm.peers()}

    async def until_connected(self, *others: "Peer") -> None:
        wanted = {other.identity.peer_id for other in others}
        with trio.fail_after(PATIENCE):
            await self.swarm._links.wait_for(lambda up: wanted <= up)

    async def until_parted(self, other: "Peer") -> None:
        with trio.fail_after(PATIENCE):
            await self.swarm._links.wait_for(lambda up: other.identity.peer_id not in up)

    async def until_meshed(self, other: "Peer", kind: str = "biology") -> None:
        """Wait until gossip of a type goes from here to there."""
        await self.until_connected(other)
        peer = ID.from_string(other.identity.peer_id)
        await self.swarm._node.gossipsub.wait_for_mesh(peer, self.swarm._local.topic(kind), timeout=PATIENCE)

    async def until_met(self, other: "Peer") -> None:
        """Wait until the other will be remembered: a moment after the connection stands."""
        await until(lambda: other.identity.peer_id in self.swarm._met)

    async def start(self, nursery: trio.Nursery) -> "Peer":
        with trio.fail_after(PATIENCE):
            await nursery.start(self._run)
        return self

    async def stop(self) -> None:
        self._scope.cancel()
        with trio.fail_after(PATIENCE):
            await self._ended.wait()

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        with trio.CancelScope() as self._scope:
            await self.swarm.run(task_status=task_status)
        self._ended.set()
