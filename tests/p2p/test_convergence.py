"""Replicas that learn, take back, evict and pull in any order come to know the same, and then say next to nothing."""

import random
from functools import partial
from pathlib import Path

import pytest
import trio
from conversation import pair
from replicas import identity, now_ms, record

from espeer.door import ReplicaDoor
from espeer.p2p.claims import Claims
from espeer.p2p.door import Counters
from espeer.p2p.gone import Gone
from espeer.p2p.pull import Provider, Pull
from espeer.records import Retraction, sign
from espeer.replica import EVICTED, Replica
from espeer.store import Store

TYPE = "biology"


class Member:
    def __init__(self, number: int) -> None:
        self.name = str(number)
        self.identity = identity(number + 1)
        self.replica = Replica(Store.open(Path(":memory:")), types=[TYPE], clock=now_ms)
        self.door = ReplicaDoor(self.replica)
        self.gone, self.withheld, self.claims, self.counters = Gone(), Gone(), Claims(), Counters()

    def learn(self, numbers: range) -> list[bytes]:
        made = [record(number, author=self.identity, created=now_ms() - number % 1000) for number in numbers]
        return [signed.id for signed in self.replica.add(made, via="own")]

    def take_back(self, target: bytes) -> None:
        self.replica.add([sign(Retraction(TYPE, target, now_ms(), self.identity.public), self.identity.sign)], via="own")

    def evict(self, ids: list[str]) -> None:
        with self.replica.store.transaction():
            for key in ids:
                self.replica.store.set_state(bytes.fromhex(key), EVICTED)
                self.replica.store.free(bytes.fromhex(key))
        self.replica.refresh(map(bytes.fromhex, ids))

    def known(self) -> set[bytes]:
        return set(self.replica.keys(TYPE).ids())

    async def pull(self, other: "Member", *, seconds: float = 30.0) -> int:
        """Pull, perhaps for a moment only; return how many bytes that took."""
        ours, theirs = pair()

        async def no_limit(_seconds: float) -> None:
            await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(Provider(theirs, other.door, [TYPE], other.counters, no_limit).run)
            with trio.move_on_after(seconds) as scope:
                pull = Pull(ours, self.door, other.name, now_ms, self.counters, self.gone, self.withheld, self.claims)
                await pull.run([TYPE])
            if scope.cancelled_caught:
                nursery.cancel_scope.cancel()
        return ours.sent + ours.received


async def live(members: list[Member], rng: random.Random) -> tuple[dict[bytes, Member], set[bytes]]:
    """Do things at random; return what was learnt, by whom, and what was taken back."""
    learnt: dict[bytes, Member] = {}
    taken_back: set[bytes] = set()
    for step in range(40):
        member = rng.choice(members)
        match rng.choice(["learn", "learn", "take back", "evict", "pull", "pull"]):
            case "learn":
                ids = member.learn(range(1000 * step, 1000 * step + rng.choice([1, 3, 40, 150])))
                learnt |= dict.fromkeys(ids, member)
            case "take back" if learnt:
                target = rng.choice(list(learnt))
                learnt[target].take_back(target)
                taken_back.add(target)
            case "evict":
                active = member.replica.active(TYPE)
                member.evict(rng.sample(active, len(active) // 2))
            case "pull":
                async with trio.open_nursery() as nursery:
                    for other in rng.sample([other for other in members if other is not member], rng.randint(1, 2)):
                        seconds = rng.choice([30.0, 30.0, 0.002, 0.01])
                        nursery.start_soon(partial(member.pull, other, seconds=seconds))
    return learnt, taken_back


@pytest.mark.parametrize("seed", range(4))
async def test_replicas_come_to_know_the_same_and_fall_silent(seed: int) -> None:
    rng = random.Random(seed)
    members = [Member(number) for number in range(rng.randint(3, 5))]
    learnt, taken_back = await live(members, rng)
    for _ in range(3):
        for member in members:
            for other in members:
                if other is not member:
                    await member.pull(other)
    for member in members:
        assert len(member.claims) == 0
        for other in members:
            if other is not member:
                rounds = member.counters.sync_rounds
                assert await member.pull(other) < 1000, "what one cannot give the other is not listed with every check"
                assert member.counters.sync_rounds == rounds + 1
    for id_ in learnt:
        if id_ not in taken_back and any(member.replica.store.is_kept(id_) for member in members):
            assert all(id_ in member.known() for member in members)
        elif id_ in taken_back:
            states = [member.replica.store.state(id_) for member in members]
            assert {state[0] for state in states if state} <= {"retracted", EVICTED}
