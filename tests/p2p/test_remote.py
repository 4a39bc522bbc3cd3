"""Recall from other nodes: swarms over loopback, and strangers that answer as they like."""

from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
import trio.testing
from replicas import PATIENCE, Peer, record, records

from espeer.errors import EspeerError
from espeer.p2p import remote as remote_module
from espeer.p2p.door import Found
from espeer.p2p.frames import Frames
from espeer.p2p.question import encode_reply
from espeer.p2p.remote import Replies
from espeer.p2p.wire import pack

Answer = Callable[[str, Frames], Awaitable[None]]


async def knows(peer: Peer, *types: str) -> None:
    """Wait until a peer has heard of those who hold the types."""
    with trio.fail_after(PATIENCE):
        while not set(types) <= set(peer.swarm.others.types_known()):
            await trio.testing.wait_all_tasks_blocked(0.01)


async def holders_known(peer: Peer, kind: str, count: int) -> None:
    with trio.fail_after(PATIENCE):
        while len(peer.swarm.others._holders(kind)) < count:
            await trio.testing.wait_all_tasks_blocked(0.01)


async def ask(peer: Peer, query: str, *types: str, k: int = 3, seconds: float = PATIENCE, patient: bool = True) -> Replies:
    return await peer.swarm.others.recall(query, k, types, seconds=seconds, patient=patient)


def answer_with(peer: Peer, answer: Answer) -> None:
    """Have a peer answer recalls as a test likes."""
    peer.swarm.others._remote._conversations.serve(peer.swarm._node, answer)


def blamed(peer: Peer) -> list[tuple[str, EspeerError]]:
    """Collect whom a peer blames."""
    found: list[tuple[str, EspeerError]] = []
    peer.swarm.others._remote._conversations._blame = lambda peer_id, error: found.append((peer_id, error))
    return found


async def test_a_type_not_held_is_recalled_from_who_holds_it(nursery: trio.Nursery) -> None:
    held = [record(1, kind="chemistry"), record(22, kind="chemistry")]
    b = await Peer(2, held=[*held, record(3)], types=["biology", "chemistry"]).start(nursery)
    a = await Peer(1, b.address, types=["biology"]).start(nursery)
    await knows(a, "chemistry")
    replies = await ask(a, "lesson 22:", "chemistry", k=1)
    assert [(told.id, told.peer_id) for told in replies.told] == [(held[1].id, b.identity.peer_id)]
    assert replies.unreached == ()
    assert held[1].id not in a.door.held, "it is used, not stored"
    assert (a.swarm.counters.asked, b.swarm.counters.answered) == (1, 1)


async def test_several_types_are_asked_of_as_few_peers_as_hold_them(nursery: trio.Nursery) -> None:
    one = await Peer(1, types=["x", "y"], held=[record(1, kind="x"), record(2, kind="y")]).start(nursery)
    other = await Peer(2, one.address, types=["z"], held=[record(3, kind="z")]).start(nursery)
    asker = await Peer(3, one.address, other.address, types=["a"]).start(nursery)
    await knows(asker, "x", "y", "z")
    replies = await ask(asker, "lesson", "x", "y", "z", "nobodys")
    assert {told.experience.type for told in replies.told} == {"x", "y", "z"}
    assert replies.unreached == ("nobodys",)
    assert (one.swarm.counters.answered, other.swarm.counters.answered) == (1, 1)


async def test_what_was_just_asked_is_not_asked_again(nursery: trio.Nursery) -> None:
    b = await Peer(2, held=records(2, kind="chemistry"), types=["chemistry"]).start(nursery)
    a = await Peer(1, b.address, types=["biology"]).start(nursery)
    await knows(a, "chemistry")
    assert await ask(a, "lesson", "chemistry") == await ask(a, "lesson", "chemistry")
    assert b.swarm.counters.answered == 1
    await ask(a, "another lesson", "chemistry")
    await ask(a, "lesson", "chemistry", k=2)
    assert b.swarm.counters.answered == 3
    for number in range(remote_module.KEPT + 5):
        a.swarm.others._remote._keep(remote_module.Question(str(number), ("chemistry",), 1), Replies((), ()))
    assert len(a.swarm.others._remote._kept) == remote_module.KEPT


async def test_who_knows_nothing_is_not_the_last_who_is_asked(nursery: trio.Nursery) -> None:
    empty = await Peer(1, types=["chemistry"]).start(nursery)
    full = await Peer(2, empty.address, held=records(1, kind="chemistry"), types=["chemistry"]).start(nursery)
    a = await Peer(3, empty.address, full.address, types=["biology"]).start(nursery)
    await holders_known(a, "chemistry", 2)
    empty.door.held.clear()  # it had it by sync
    a.swarm.others._remote._holders = lambda _: [empty.identity.peer_id, full.identity.peer_id]
    replies = await ask(a, "lesson", "chemistry")
    assert [told.peer_id for told in replies.told] == [full.identity.peer_id]
    assert await ask(a, "nothing like it", "chemistry") == Replies((), ())


async def lie_with_another_type(_: str, frames: Frames) -> None:
    await frames.receive()
    await frames.send(encode_reply([Found(record(1, kind="biology"), 1.0)]))


async def lie_with_a_forged_record(_: str, frames: Frames) -> None:
    await frames.receive()
    data = encode_reply([Found(record(1, kind="chemistry"), 1.0)])
    await frames.send(data.replace(b"check the fuse", b"burn the fuse!"))


async def talk_garbage(_: str, frames: Frames) -> None:
    await frames.receive()
    await frames.send(b"\xc1")


@pytest.mark.parametrize("lie", [lie_with_another_type, lie_with_a_forged_record, talk_garbage])
async def test_a_lying_peer_is_blamed_and_the_next_is_asked(nursery: trio.Nursery, lie: Answer) -> None:
    liar = await Peer(1, types=["chemistry"]).start(nursery)
    honest = await Peer(2, liar.address, held=records(1, kind="chemistry"), types=["chemistry"]).start(nursery)
    a = await Peer(3, liar.address, honest.address, types=["biology"]).start(nursery)
    await honest.until_connected(liar)
    await holders_known(a, "chemistry", 2)
    answer_with(liar, lie)
    accused = blamed(a)
    order = [liar.identity.peer_id, honest.identity.peer_id]
    a.swarm.others._remote._holders = lambda _: order
    replies = await ask(a, "lesson", "chemistry")
    assert [told.peer_id for told in replies.told] == [honest.identity.peer_id]
    assert [peer_id for peer_id, _ in accused] == [liar.identity.peer_id]


@asynccontextmanager
async def silence(peer: Peer) -> Any:
    """Have a peer take questions and not answer them, until the block ends."""
    over = trio.Event()

    async def wait(_: str, frames: Frames) -> None:
        await frames.receive()
        await over.wait()

    answer_with(peer, wait)
    yield
    over.set()


async def test_a_dead_peer_costs_the_deadline_once(nursery: trio.Nursery) -> None:
    dead = await Peer(1, types=["chemistry"]).start(nursery)
    a = await Peer(3, dead.address, types=["biology"]).start(nursery)
    await knows(a, "chemistry")
    async with silence(dead):
        began = trio.current_time()
        replies = await ask(a, "lesson", "chemistry", seconds=0.3, patient=False)
        assert replies.unreached == ("chemistry",)
        assert 0.3 <= trio.current_time() - began < 1
        began = trio.current_time()
        assert (await ask(a, "lesson", "chemistry", seconds=PATIENCE, patient=False)).unreached == ("chemistry",)
        assert trio.current_time() - began < 0.2, "it is set aside"
        assert (await ask(a, "lesson", "chemistry", seconds=0.1, patient=True)).unreached == ("chemistry",), (
            "asked all the same"
        )


async def test_while_one_peer_is_silent_another_answers_in_time(nursery: trio.Nursery) -> None:
    dead = await Peer(1, types=["chemistry"]).start(nursery)
    honest = await Peer(2, held=records(1, kind="chemistry"), types=["chemistry"]).start(nursery)
    a = await Peer(3, dead.address, honest.address, types=["biology"]).start(nursery)
    await holders_known(a, "chemistry", 2)
    a.swarm.others._remote._holders = lambda _: [dead.identity.peer_id, honest.identity.peer_id]
    async with silence(dead):
        replies = await ask(a, "lesson", "chemistry", seconds=2)
        assert [told.peer_id for told in replies.told] == [honest.identity.peer_id]
        began = trio.current_time()
        assert (await ask(a, "more", "chemistry", seconds=PATIENCE)).unreached == ()
        assert trio.current_time() - began < 1, "the silent one is asked last"


async def test_who_asks_too_much_is_told_so(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_module, "BURST", 3.0)
    monkeypatch.setattr(remote_module, "RATE", 0.001)
    b = await Peer(2, held=records(1, kind="chemistry"), types=["chemistry"]).start(nursery)
    a = await Peer(1, b.address, types=["biology"]).start(nursery)
    c = await Peer(3, b.address, types=["biology"]).start(nursery)
    await knows(a, "chemistry")
    await knows(c, "chemistry")
    replies = [await ask(a, f"lesson {number}", "chemistry") for number in range(5)]
    assert [not reply.unreached for reply in replies] == [True, True, True, False, False]
    assert b.swarm.counters.answered == 3
    assert (await ask(c, "lesson", "chemistry")).unreached == (), "others may still ask"


async def test_all_together_may_not_ask_too_much(nursery: trio.Nursery) -> None:
    b = await Peer(2, held=records(1, kind="chemistry"), types=["chemistry"]).start(nursery)
    a = await Peer(1, b.address, types=["biology"]).start(nursery)
    await knows(a, "chemistry")
    b.swarm.others._remote._of_all.owe(trio.current_time(), 1e6)
    assert (await ask(a, "lesson", "chemistry")).unreached == ("chemistry",)


async def test_a_bad_question_is_blamed(nursery: trio.Nursery) -> None:
    b = await Peer(2, types=["chemistry"]).start(nursery)
    a = await Peer(1, b.address, types=["biology"]).start(nursery)
    await a.until_connected(b)
    accused = blamed(b)
    with suppress(EspeerError):
        async with a.swarm.others._remote._conversations.open(a.swarm._node, b.identity.peer_id) as frames:
            await frames.send(pack(["recall", "why", ["chemistry"], 10**6]))
            await frames.receive()
    assert [peer_id for peer_id, _ in accused] == [a.identity.peer_id]


async def test_a_client_asks_its_servers_in_order_and_takes_part_in_nothing_else(nursery: trio.Nursery) -> None:
    first = await Peer(1, types=["chemistry"]).start(nursery)
    second = await Peer(2, first.address, held=records(1, kind="biology"), types=["biology"]).start(nursery)
    await second.until_connected(first)
    client = await Peer(3, types=[], listen=None, servers=[first.address, second.address]).start(nursery)
    await client.until_connected(first, second)
    replies = await ask(client, "lesson", "biology")
    assert [told.peer_id for told in replies.told] == [second.identity.peer_id], "the first says that it does not hold it"
    await second.stop()
    await client.until_parted(second)
    assert (await ask(client, "new lesson", "biology")).unreached == ("biology",)
    assert client.swarm.addresses() == []
    assert client.door.held == {}


async def test_without_a_network_nobody_is_reached() -> None:
    a = Peer(1)
    assert await ask(a, "lesson", "chemistry") == Replies((), ("chemistry",))
    assert a.swarm.others.types_known() == []
