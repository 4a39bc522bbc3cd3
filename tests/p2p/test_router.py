from types import SimpleNamespace

import pytest
import trio
import trio.testing
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from replicas import identity

from espeer.errors import BrokenPromise, EspeerError
from espeer.p2p.router import MAX_WANTED, PROMISE_SECONDS, SafeGossipSub
from espeer.p2p.trust import LIMIT

PEER = ID.from_string(identity(5).peer_id)
TOPIC = "/espeer/1/test/biology"


class Router:
    """A router with nobody to talk to, what it asks for and whom it blames."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, score: float = 0.0) -> None:
        self.asked: list[list[bytes]] = []
        self.blamed: list[EspeerError] = []
        self.seen: set[bytes] = set()
        self.it = SafeGossipSub(blame=lambda _peer, error: self.blamed.append(error), score=lambda _peer: score)
        self.it.mesh = {TOPIC: set()}
        self.it.pubsub = SimpleNamespace(seen_messages=SimpleNamespace(has=self.seen.__contains__))

        async def emit_iwant(ids: list[bytes], _peer: ID) -> None:
            self.asked.append(list(ids))

        async def emit_prune(*_: object) -> None: ...

        monkeypatch.setattr(self.it, "emit_iwant", emit_iwant)
        monkeypatch.setattr(self.it, "emit_prune", emit_prune)

    async def hear(self, *ids: bytes, topic: str = TOPIC) -> None:
        names = [id_.hex().encode() for id_ in ids]
        await self.it.handle_ihave(rpc_pb2.ControlIHave(topicID=topic, messageIDs=names), PEER)


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> Router:
    return Router(monkeypatch)


async def test_of_an_ihave_some_of_what_is_new_is_asked_for(router: Router) -> None:
    router.seen.add(b"old")
    await router.hear(b"old", *(number.to_bytes(4, "big") for number in range(5000)))
    await router.hear(b"new", topic="/espeer/1/test/made-up")
    assert [len(ids) for ids in router.asked] == [MAX_WANTED]
    assert b"old" not in router.asked[0]
    assert set(router.it.ihave_message_limits[PEER]) == {TOPIC}


async def test_a_promise_that_is_not_kept_is_an_offence(autojump_clock: trio.testing.MockClock, router: Router) -> None:
    await router.hear(b"promised")
    await trio.sleep(PROMISE_SECONDS)
    await router.hear(b"more")
    assert not router.blamed
    await trio.sleep(1)
    await router.hear(b"more")
    assert [type(error) for error in router.blamed] == [BrokenPromise]
    await trio.sleep(1)
    await router.hear(b"more")
    assert len(router.blamed) == 1


async def test_a_promise_is_kept_whoever_brings_the_message(autojump_clock: trio.testing.MockClock, router: Router) -> None:
    await router.hear(b"promised", b"more")
    router.it.came(b"promised")
    await trio.sleep(2 * PROMISE_SECONDS)
    await router.hear(b"other")
    assert not router.blamed


async def test_what_a_peer_makes_up_is_not_remembered(router: Router) -> None:
    for number in range(100):
        topic = f"/espeer/1/test/made-up-{number}"
        await router.it.handle_graft(rpc_pb2.ControlGraft(topicID=topic), PEER)
        await router.it.handle_prune(rpc_pb2.ControlPrune(topicID=topic, backoff=9), PEER)
    assert not router.it.scorer.time_in_mesh[PEER]
    assert not router.it.graft_flood_tracking[PEER]
    assert not router.it.back_off
    assert set(router.it.mesh) == {TOPIC}


@pytest.mark.parametrize(("score", "welcome"), [(0, True), (LIMIT / 2, True), (LIMIT / 2 + 1, False)])
async def test_a_peer_half_way_to_a_ban_is_kept_out_of_the_mesh(
    monkeypatch: pytest.MonkeyPatch, score: float, welcome: bool
) -> None:
    router = Router(monkeypatch, score)
    await router.it.handle_graft(rpc_pb2.ControlGraft(topicID=TOPIC), PEER)
    assert (PEER in router.it.mesh[TOPIC]) == welcome
