import random

import pytest
import trio
import trio.testing

from espeer.errors import NetworkError
from espeer.p2p.links import Links
from espeer.p2p.rounds import Rounds


class Visits:
    """What rounds do; each visit ends when it is allowed to."""

    def __init__(self, *up: str, interval: float = 3600.0, at_a_time: int = 2) -> None:
        self.links = Links()
        for peer_id in up:
            self.links.set(peer_id, connected=True)
        self.rounds = Rounds("test", links=self.links, rng=random.Random(1), interval=interval, at_a_time=at_a_time)
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.hold = trio.Event()
        self.failure: Exception | None = None

    async def visit(self, peer_id: str) -> None:
        self.begun.append(peer_id)
        await self.hold.wait()
        if self.failure is not None:
            raise self.failure
        self.ended.append(peer_id)


async def test_peers_are_visited_in_turn_so_many_at_a_time(nursery: trio.Nursery) -> None:
    visits = Visits("a", "b", "c")
    nursery.start_soon(visits.rounds.run, visits.visit)
    await trio.testing.wait_all_tasks_blocked()
    for peer_id in ("a", "gone", "b", "c", "a", "a"):
        visits.rounds.request(peer_id)
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(visits.begun) == ["a", "b"]
    visits.hold.set()
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(visits.begun[:2]) + visits.begun[2:] == ["a", "b", "c"]


async def test_a_peer_asked_for_while_it_is_visited_is_visited_once_more(nursery: trio.Nursery) -> None:
    visits = Visits("a")
    nursery.start_soon(visits.rounds.run, visits.visit)
    await trio.testing.wait_all_tasks_blocked()
    visits.rounds.request("a")
    await trio.testing.wait_all_tasks_blocked()
    visits.rounds.request("a")
    visits.rounds.request("a")
    await trio.testing.wait_all_tasks_blocked()
    assert visits.begun == ["a"]
    visits.hold.set()
    await trio.testing.wait_all_tasks_blocked()
    assert visits.ended == ["a", "a"]


async def test_who_holds_us_up_never_takes_all_the_places(nursery: trio.Nursery) -> None:
    visits = Visits("slow", "slower", "slowest", "quick", at_a_time=3)
    nursery.start_soon(visits.rounds.run, visits.visit)
    await trio.testing.wait_all_tasks_blocked()
    for peer_id in ("slow", "slower", "slowest", "gone"):
        visits.rounds.put_back(peer_id, back=True)
    for peer_id in ("slow", "slower", "slowest", "quick"):
        visits.rounds.request(peer_id)
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(visits.begun) == ["quick", "slow", "slower"]
    visits.rounds.put_back("slow", back=False)
    visits.hold.set()
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(visits.ended) == ["quick", "slow", "slower", "slowest"]


@pytest.mark.parametrize("failure", [NetworkError("it went away"), RuntimeError("a fault of ours")])
async def test_a_visit_that_fails_ends_no_other(nursery: trio.Nursery, failure: Exception) -> None:
    visits = Visits("a", "b")
    visits.failure = failure
    visits.hold.set()
    nursery.start_soon(visits.rounds.run, visits.visit)
    await trio.testing.wait_all_tasks_blocked()
    visits.rounds.request("a")
    await trio.testing.wait_all_tasks_blocked()
    visits.failure = None
    visits.rounds.request("a")
    visits.rounds.request("b")
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(visits.ended) == ["a", "b"]


async def test_now_and_then_a_random_peer_is_visited(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    visits = Visits("a", "b", interval=10)
    visits.hold.set()
    nursery.start_soon(visits.rounds.run, visits.visit)
    await trio.sleep(1000)
    assert 80 < len(visits.ended) < 120
    assert set(visits.ended) == {"a", "b"}
    assert autojump_clock.current_time() >= 1000


async def test_random_visits_go_mostly_where_they_are_of_use(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    visits = Visits(*(f"client-{number}" for number in range(50)), "peer", interval=1)
    visits.rounds._likely = lambda: {"peer", "gone"}
    visits.hold.set()
    nursery.start_soon(visits.rounds.run, visits.visit)
    await trio.sleep(200)
    assert visits.begun.count("peer") > 100
    assert len(set(visits.begun)) > 5, "whoever seems to be of no use is not left out for ever"
