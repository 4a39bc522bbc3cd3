"""What happens in a node, as a client of `GET /api/events` sees it."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio
from watching import PATIENCE, site, watching

from espeer import Config, FakeModel, Node
from espeer.api.http import events as events_module
from espeer.api.http import feed
from espeer.api.http.feed import Feed, Happening, Watcher
from espeer.api.http.served import Served
from espeer.events import Linked
from espeer.tasks import background

LEARNT = "Pump P7 shows E42."


async def test_a_stream_begins_with_how_things_stand_and_goes_on_with_what_happens(tmp_path: Path) -> None:
    async with site(tmp_path) as there, watching(there) as events:
        first, name, begun = await events.next()
        assert (name, begun["answers"], begun["runs"]) == ("begin", [], [])
        assert (await events.next("status"))[2]["peer_id"] == there.node.identity.peer_id
        learnt = await there.node.learn(LEARNT, feedback="Purge the line.", wait=True)
        _, _, recorded = await events.next("recorded")
        assert (recorded["id"], recorded["via"], recorded["kind"]) == (learnt.experience, "own", "experience")
        assert recorded["author"] == there.node.identity.peer_id
        assert LEARNT in recorded["experience"]["text"]
        answer = await there.node.ask("P7 shows E42?")
        last, _, answered = await events.next("answered")
        assert (answered["answer"], answered["used"]) == (answer.id, [learnt.experience])
        assert first.endswith("-0")
        assert last.endswith("-2")
        await there.node.refine()
        assert (await events.next("refined"))[2]["before"] == 1


async def test_how_things_stand_is_told_again_when_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "LOOK_SECONDS", 0.01)
    async with site(tmp_path) as there, watching(there) as events:
        assert (await events.next("status"))[2]["records"] == []
        await there.node.learn(LEARNT, wait=True)
        while not (status := (await events.next("status"))[2])["records"]:
            pass
        assert status["store_bytes"] > 0


async def test_who_is_the_first_to_come_back_is_not_told_how_things_stood_long_ago(tmp_path: Path) -> None:
    served = Served()
    feed = Feed(served)
    async with Node(Config(data=tmp_path, offline=True), model=FakeModel()) as node, background() as nursery:
        nursery.start_soon(feed.run)
        served.up(node)
        with feed.watched("") as watcher:
            assert await watcher.news(PATIENCE)
            assert watcher.snapshots["status"]["records"] == []
            with feed.watched("") as other:
                assert set(other.snapshots) == {"status", "peers"}
        await node.learn(LEARNT, wait=True)
        with feed.watched("") as watcher:
            assert watcher.snapshots == {}
            assert await watcher.news(PATIENCE)
            assert watcher.snapshots["status"]["records"] != []


async def test_a_page_that_comes_later_knows_what_was_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "SAMPLE_SECONDS", 0.0)
    async with site(tmp_path) as there:
        await there.node.ask("Anything?")
        await there.node.refine()
        async with watching(there) as events:
            _, _, begun = await events.next("begin")
    assert [set(answer) for answer in begun["answers"]] == [{"at", "ttft_ms"}]
    assert begun["sizes"][0]["bytes"] > 0
    assert begun["runs"][0]["run"] == 1


async def test_who_comes_back_is_told_what_it_missed(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        async with watching(there) as events:
            await events.next("begin")
            await there.node.learn(LEARNT, wait=True)
            known, _, _ = await events.next("recorded")
        await there.node.ask("One?")
        await there.node.ask("Two?")
        async with watching(there, known) as events:
            told = [await events.next("begin", "answered", "lost") for _ in range(2)]
            assert [(name, data["answer"]) for _, name, data in told] == [("answered", 2), ("answered", 3)]
        async with watching(there, told[-1][0]) as events:
            assert (await events.next())[1] in {"status", "peers"}
        for strange in ("0000-1", "x", f"{known.partition('-')[0]}-999", f"{known}9" * 9):  # of another start, or of nobody
            async with watching(there, strange) as events:
                assert (await events.next())[1] == "begin"


async def test_a_slow_client_loses_the_oldest_and_is_told_so() -> None:
    watcher = Watcher([], lost=0, begins=True)
    for number in range(feed.REMEMBERED + 3):
        watcher.tell(Happening(number, 0, Linked("peer", connected=True)))
    assert (watcher.lost, watcher.happenings[0].number, len(watcher.happenings)) == (3, 3, feed.REMEMBERED)


async def test_who_was_away_for_too_long_is_told_how_much_it_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with site(tmp_path) as there:
        async with watching(there) as events:
            known, _, _ = await events.next("begin")
        for _ in range(feed.REMEMBERED + 5):
            there.node.events.emit(Linked("peer", connected=True))
        async with watching(there, known) as events:
            lost, first = await events.next("lost"), await events.next("linked")
    assert lost[2] == {"n": 5}
    assert lost[0].endswith("-5")
    assert first[0].endswith("-6")


async def test_only_so_many_can_watch_and_one_that_leaves_makes_room(tmp_path: Path) -> None:
    async with site(tmp_path) as there, AsyncExitStack() as stack:
        for _ in range(feed.MAX_WATCHERS - 1):
            await (await stack.enter_async_context(watching(there))).next("begin")
        async with watching(there) as events:
            await events.next("begin")
            refused = await there.client.get("/api/events")
            assert refused.status_code == 503
            assert refused.json()["error"]["type"] == "TooManyWatchers"
        with trio.fail_after(PATIENCE):  # the server has to see that it went
            while (await there.client.head("/api/events")).status_code != 200:
                pass


async def test_a_comment_now_and_then_shows_that_the_stream_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "HEARTBEAT_SECONDS", 0.01)
    async with site(tmp_path) as there, watching(there) as events:
        assert await events.comment() == ": espeer"
        assert await events.comment() == ": alive"


async def test_the_stream_ends_when_the_node_stops(tmp_path: Path) -> None:
    async with site(tmp_path) as there, watching(there) as events:
        await events.next("begin")
        there.served.down()
        await events.end()
        assert (await there.client.get("/api/events")).status_code == 503


async def test_before_the_node_is_up_there_is_nothing_to_watch() -> None:
    served = Served()
    with Feed(served).watched("") as watcher:
        assert watcher.begins
    assert served.phase == "loading"


async def test_nobody_looks_at_the_node_while_nobody_watches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    async def count(self: Feed) -> None:
        looks.append(self)

    monkeypatch.setattr(Feed, "_see", count)
    monkeypatch.setattr(feed, "LOOK_SECONDS", 0.01)
    async with site(tmp_path) as there:
        await there.node.learn(LEARNT, wait=True)
        assert looks == []
        async with watching(there) as events:
            await events.next("begin")
        assert looks


async def test_without_the_key_nothing_is_told(tmp_path: Path) -> None:
    key = "0123456789abcdef"
    async with site(tmp_path, key=key) as there:
        assert (await there.client.get("/api/events")).status_code == 401
        there.client.headers["authorization"] = f"Bearer {key}"
        async with watching(there) as events:
            await events.next("begin")
