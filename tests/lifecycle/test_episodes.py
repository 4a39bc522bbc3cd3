"""The episode buffer, driven with values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espeer.interaction import Interaction
from espeer.lifecycle.episodes import EpisodeBuffer, Topic, codes, similarity

queries = st.sampled_from(["E42 on the pump", "E42 on the pump again", "K7 on the dryer", "the lift is slow", "", "door"])


def said(number: int, query: str, type: str = "") -> Interaction:
    return Interaction(number, number, query, type=type)


def numbers(episodes: list[list[Interaction]]) -> list[list[int]]:
    return [[member.id for member in episode] for episode in episodes]


def test_like_queries_share_an_episode_and_others_do_not() -> None:
    buffer = EpisodeBuffer(size=9, age_ms=1000)
    for number, query in enumerate(["Pump E42 stalls when cold", "The lift door jams", "Pump E42 stalls when hot"], 1):
        assert buffer.add(said(number, query), now_ms=0) is None
    assert numbers(buffer.take_all()) == [[1, 3], [2]]
    assert len(buffer) == 0


def test_another_code_is_another_matter() -> None:
    here = Topic.of("Orla-2 stops with E42 at noon")
    assert similarity(here, Topic.of("Orla-2 stops with E43 at noon")) == 0
    assert similarity(here, Topic.of("Orla-2 stops with E42 at night")) > 0.7
    assert similarity(here, Topic.of("Orla-2 stops at noon")) > 0.7


def test_named_types_are_kept_apart() -> None:
    buffer = EpisodeBuffer(size=9, age_ms=1000)
    buffer.add(said(1, "E42 stalls", "pumps"), now_ms=0)
    buffer.add(said(2, "E42 stalls", "valves"), now_ms=0)
    assert numbers(buffer.take_all()) == [[1], [2]]


def test_an_episode_closes_by_size() -> None:
    buffer = EpisodeBuffer(size=2, age_ms=1000)
    assert buffer.add(said(1, "E42"), now_ms=0) is None
    closed = buffer.add(said(2, "E42"), now_ms=0)
    assert closed is not None
    assert numbers([closed]) == [[1, 2]]
    assert buffer.next_due_ms() is None


def test_an_episode_closes_by_age_after_its_last_interaction() -> None:
    buffer = EpisodeBuffer(size=9, age_ms=1000)
    buffer.add(said(1, "E42"), now_ms=0)
    buffer.add(said(2, "door"), now_ms=100)
    buffer.add(said(3, "E42"), now_ms=900)
    assert buffer.next_due_ms() == 1100
    assert numbers(buffer.take_due(1099)) == []
    assert numbers(buffer.take_due(1100)) == [[2]]
    assert buffer.next_due_ms() == 1900


@given(st.lists(st.tuples(queries, st.integers(0, 500))), st.integers(1, 4))
def test_every_interaction_comes_out_once(taken: list[tuple[str, int]], size: int) -> None:
    buffer = EpisodeBuffer(size=size, age_ms=700)
    out: list[list[Interaction]] = []
    now = 0
    for number, (query, pause) in enumerate(taken):
        now += pause
        out += buffer.take_due(now)
        closed = buffer.add(said(number, query), now_ms=now)
        out += [closed] if closed else []
    out += buffer.take_all()
    assert sorted(member.id for episode in out for member in episode) == list(range(len(taken)))
    assert all(1 <= len(episode) <= size for episode in out)


@pytest.mark.parametrize(
    ("text", "found"),
    [("E42 on eth0 at 4 mm", {"e42", "eth0"}), ("Kestrel-3, HX-07", {"kestrel-3", "hx-07"}), ("ten-minute break 7", set())],
)
def test_codes(text: str, found: set[str]) -> None:
    assert codes(text) == found
