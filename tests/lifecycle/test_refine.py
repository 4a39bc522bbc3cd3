"""Grouping, contradictions, duplicates, usefulness."""

import math
from dataclasses import replace
from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espeer.lifecycle.essence import noted
from espeer.lifecycle.refine import (
    Candidate,
    Claim,
    Group,
    Plan,
    Standing,
    bytes_saved,
    contradict,
    duplicate,
    groups,
    least_useful,
    may_join,
    plan,
    usefulness,
)

DAY_MS = 24 * 3600 * 1000
A, B, C = b"a" * 32, b"b" * 32, b"c" * 32


def held(*texts: str, authors: tuple[bytes, ...] = (A, B, C), sources: tuple[int, ...] = ()) -> dict[str, Candidate]:
    """Candidates "0", "1", ..., each newer than the one before."""
    return {
        str(number): Candidate(
            str(number), text, frozenset({authors[number % len(authors)]}), number, sources[number] if sources else 1
        )
        for number, text in enumerate(texts)
    }


def planned(candidates: dict[str, Candidate]) -> Plan:
    return plan(Group(tuple(candidates), (0.8,) * (len(candidates) - 1)), candidates)


# -- grouping

keys = st.sampled_from("abcdefghijkl")
texts = st.sampled_from(["the pump stalls", "the pump stalls with E42", "the pump stalls with E43", "pump P7 stalls, E42"])
edges = st.lists(st.tuples(keys, keys, st.sampled_from([0.3, 0.5, 0.5000000001, 0.7, 1.0])), max_size=60)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[tuple[str, str, float]], dict[str, Candidate], int, int]:
    candidates = {key: Candidate(key, draw(texts), A, 1, draw(st.integers(1, 4))) for key in "abcdefghijkl"}
    return draw(edges), candidates, draw(st.integers(2, 5)), draw(st.integers(2, 8))


@given(graphs())
def test_groups_are_disjoint_bounded_stars_of_what_may_join(
    graph: tuple[list[tuple[str, str, float]], dict[str, Candidate], int, int],
) -> None:
    pairs, candidates, max_size, max_sources = graph
    similarity: dict[frozenset[str], float] = {}
    for a, b, value in pairs:
        similarity[frozenset((a, b))] = max(value, similarity.get(frozenset((a, b)), 0))
    found = groups(pairs, candidates, max_size=max_size, max_sources=max_sources)
    members = [key for group in found for key in group.members]
    assert len(members) == len(set(members))
    for group in found:
        assert 2 <= len(group.members) <= max_size
        assert sum(candidates[key].sources for key in group.members) <= max_sources
        assert [similarity[frozenset((group.hub, key))] for key in group.members[1:]] == list(group.similarities)
        assert sorted(group.similarities, reverse=True) == list(group.similarities)
        assert group.weakest == min(group.similarities)
        subjects = [Claim.of(candidates[key].text) for key in group.members]
        assert all(may_join(a, b) for a, b in combinations(subjects, 2))


@given(graphs())
def test_nothing_that_could_be_grouped_is_left(
    graph: tuple[list[tuple[str, str, float]], dict[str, Candidate], int, int],
) -> None:
    pairs, candidates, max_size, max_sources = graph
    grouped = {key for group in groups(pairs, candidates, max_size=max_size, max_sources=max_sources) for key in group.members}
    for a, b, _ in pairs:
        if a != b and not {a, b} & grouped:
            fits = candidates[a].sources + candidates[b].sources <= max_sources
            assert not fits or not may_join(Claim.of(candidates[a].text), Claim.of(candidates[b].text))


@given(graphs(), st.randoms(use_true_random=False))
def test_the_order_of_the_pairs_does_not_matter(
    graph: tuple[list[tuple[str, str, float]], dict[str, Candidate], int, int], random: Random
) -> None:
    pairs, candidates, max_size, max_sources = graph
    shuffled = [(b, a, value) if random.random() < 0.5 else (a, b, value) for a, b, value in pairs]
    random.shuffle(shuffled)
    other = dict(random.sample(list(candidates.items()), len(candidates)))
    limits = {"max_size": max_size, "max_sources": max_sources}
    assert groups(pairs, candidates, **limits) == groups(shuffled, other, **limits)


def alike(*names: str) -> dict[str, Candidate]:
    return {name: Candidate(name, "The pump stalls.", A, 1, 1) for name in names}


def test_a_chain_is_not_one_group() -> None:
    chain = [("a", "b", 0.9), ("b", "c", 0.8), ("c", "d", 0.8), ("d", "e", 0.9)]
    found = groups(chain, alike(*"abcde"), max_size=9, max_sources=99)
    assert [group.members for group in found] == [("b", "a", "c"), ("d", "e")]


def test_the_hub_has_most_free_neighbours_and_takes_the_most_similar() -> None:
    pairs = [("h", "a", 0.5), ("h", "b", 0.9), ("h", "c", 0.7), ("a", "x", 0.99)]
    found = groups(pairs, alike(*"habcx"), max_size=3, max_sources=99)
    assert [(group.members, group.similarities) for group in found] == [(("h", "b", "c"), (0.9, 0.7)), (("a", "x"), (0.99,))]


def test_equal_totals_are_equal_however_they_are_summed() -> None:
    candidates = alike(*"abcdefgh")
    star = [("a", "b", 0.1), ("a", "c", 0.2), ("a", "d", 0.3), ("e", "f", 0.3), ("e", "g", 0.2), ("e", "h", 0.1)]
    for pairs in (star, star[::-1]):
        found = groups(pairs, candidates, max_size=9, max_sources=99)
        assert [group.hub for group in found] == ["a", "e"]


def test_two_members_that_name_different_codes_are_kept_apart_though_the_hub_names_none() -> None:
    candidates = {
        "h": Candidate("h", "The pump stalls.", A, 1, 1),
        "a": Candidate("a", "Pump P7 stalls.", A, 1, 1),
        "b": Candidate("b", "Pump P9 stalls.", A, 1, 1),
    }
    found = groups([("h", "a", 0.9), ("h", "b", 0.8)], candidates, max_size=9, max_sources=99)
    assert [group.members for group in found] == [("h", "a")]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("Orla-2 stops with E42: purge the line.", "Orla-2 stops with E43: purge the line.", False),
        ("Orla-2 stops with E42: purge the line.", "Orla-2 stops: purge the line.", True),
        ("The pump stalls at 4 bar: purge the line.", "The pump stalls at 7 bar: vent it.", False),
        ("The pump stalls at 4 bar: purge the line.", "The pump stalls at high pressure: purge the line.", True),
        ("The pump starts with a bang: purge the line.", "The pump does not start with a bang: vent it.", False),
        ("The saw in Halmstad stalls: purge it.", "The saw in Malmo stalls: purge it.", False),
        ("The pump stalls: set the gap to 4 mm.", "The pump stalls: set the gap to 7 mm.", True),  # contradict, see below
    ],
)
def test_what_may_join(a: str, b: str, expected: bool) -> None:
    assert may_join(Claim.of(a), Claim.of(b)) is expected
    assert may_join(Claim.of(b), Claim.of(a)) is expected


# -- contradictions

WHEN = "When the Orla-2 dryer stops with K11 after its lid was opened, press the lid switch for 5 seconds."
COLON = "Kestrel-3 stops with J18 after a cold start: set the idler gap to 4 mm."
ASKED = "Which organelle makes ATP? Mitochondria."
TOLD = "E42 on the pumps. Purge the line."


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (WHEN, WHEN.replace("5 seconds", "15 seconds")),
        (WHEN, WHEN.replace("5 seconds", "5 minutes")),
        (WHEN, WHEN.replace("press", "do not press")),
        (WHEN, "If the Orla-2 stops with K11, unplug the heater."),
        (COLON, COLON.replace("4 mm", "7 mm")),
        (COLON, "Kestrel-3 stops with J18 after a cold start. Setting the idler gap to 9 mm cured it."),
        (COLON, "After a cold start the Kestrel-3 stops with J18. Wiping the lens cured it."),
        (ASKED, "Which organelle makes ATP? Chloroplasts."),
        (ASKED, "Which organelle makes ATP? Chloroplasts make ATP."),
        (TOLD, "E42 on the pumps. Never purge the line."),
        (TOLD, "Change the filter when E42 shows on the pumps."),
        ("The gap of the mill is 4 mm.", "The gap of the mill is 7 mm."),  # no question in either
    ],
)
def test_contradictions(a: str, b: str) -> None:
    assert contradict(Claim.of(a), Claim.of(b))
    assert contradict(Claim.of(b), Claim.of(a))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (WHEN, WHEN),
        (WHEN, "Orla-2 stops with K11. Pressing the lid switch for five seconds cleared it."),
        (WHEN, WHEN.replace(".", ", then restart it.")),
        (WHEN, WHEN.replace(".", ", not the door switch.")),
        (COLON, "Kestrel-3 stops with J18. We set the gap of the idler to 4 mm and the speed to 35 percent."),
        (COLON, "If the Kestrel-3 stops with J18, adjust the idler gap to 0.4 cm."),
        (COLON, "Kestrel-3 stops with J18 after a cold start: check the idler gap."),
        (ASKED, "Which organelle makes ATP? The mitochondria make it."),
        (TOLD, "E42 on the pumps. A restart did not help. Purging the line did."),
        (TOLD, "The lift door jams. Oil the rail."),  # another question
        (TOLD, "The water main is behind the green panel."),
        ("The gap of the mill is 4 mm.", "The mill has a gap of 4 mm."),
    ],
)
def test_what_is_no_contradiction(a: str, b: str) -> None:
    assert not contradict(Claim.of(a), Claim.of(b))
    assert not contradict(Claim.of(b), Claim.of(a))


def test_the_answer_of_most_authors_wins_and_the_condensate_says_so() -> None:
    other = COLON.replace("4 mm", "7 mm")
    made = planned(held(other, COLON, COLON.replace("set", "adjust")))
    assert made.survivor is None
    assert made.members == ("0", "1", "2")
    assert made.winners == ("1", "2")
    assert made.note == " (2 of 3 sources agree; the others say otherwise.)"


def test_authors_count_before_sources_and_these_before_age() -> None:
    other = COLON.replace("4 mm", "7 mm")
    loud = held(other, other, other, COLON, COLON, authors=(A, A, A, B, C))
    assert planned(loud).winners == ("3", "4")
    assert planned(held(other, COLON, sources=(3, 1))).winners == ("0",)
    assert planned(held(other, COLON)).winners == ("1",)


def test_who_takes_no_side_goes_with_the_winner() -> None:
    made = planned(held("Kestrel-3 stops with J18: check the idler gap.", COLON.replace("4 mm", "7 mm"), COLON, COLON))
    assert made.winners == ("0", "2", "3")
    assert made.note == " (3 of 4 sources agree; the others say otherwise.)"


def test_what_was_contested_before_is_counted_again() -> None:
    noted_before = COLON + " (2 of 3 sources agree; the others say otherwise.)"
    made = planned(held(noted_before, "Kestrel-3 stops with J18. Set the idler gap to 4 mm at once.", sources=(3, 1)))
    assert made.winners == ("0", "1")
    assert noted(made.note) == 3
    assert "of 4" in made.note
    boasting = COLON + " (900 of 901 sources agree; the others say otherwise.)"
    assert planned(held(boasting, COLON.replace("4 mm", "7 mm"))).winners == ("1",)


# -- duplicates


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (WHEN, WHEN.replace("dryer", "Dryer").replace("When", "when")),
        (WHEN, WHEN.rstrip(".")),
        (WHEN, WHEN.replace("the lid switch", "lid switch")),
        (COLON, COLON.replace(": set", ".  Set the")),
    ],
)
def test_duplicates(a: str, b: str) -> None:
    assert duplicate(a, b)
    assert duplicate(b, a)


LONG = (
    "When the Orla-2 dryer in the north hall of the old works stops with K11 after its lid was opened for cleaning by the "
    "night crew, turn the lid switch on for 1.2 seconds before the valve opens at 4 bar and call Halmstad about the red relay."
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("K11", "K12"),
        ("Orla-2", "Orla-3"),
        ("1.2 seconds", "2.1 seconds"),
        ("1.2 seconds", "1.2 minutes"),
        ("1.2 seconds", "-1.2 seconds"),
        ("4 bar", "5 bar"),
        ("switch on", "switch off"),
        ("before the valve", "after the valve"),
        ("after its lid", "before its lid"),
        ("was opened", "was not opened"),
        ("turn the lid", "never turn the lid"),
        ("Halmstad", "Malmo"),
        ("red relay", "blue relay"),
        ("north hall", "hall Nord"),
    ],
)
def test_what_differs_in_one_fact_is_no_duplicate(old: str, new: str) -> None:
    assert old in LONG
    assert not duplicate(LONG, LONG.replace(old, new))
    candidates = held(LONG, LONG.replace(old, new))
    assert planned(candidates).survivor is None


def test_the_same_words_in_another_order_are_no_duplicate() -> None:
    text = "Kestrel-3 stops: close V1 before V2, 4 mm at 7 bar."
    for other in (
        "Kestrel-3 stops: close V2 before V1, 4 mm at 7 bar.",
        "Kestrel-3 stops: close V1 before V2, 7 mm at 4 bar.",
    ):
        assert not duplicate(text, other)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("At an inlet pressure >3 bar: close V1.", "At an inlet pressure <3 bar: close V1."),
        ("E42: send 50 mW.", "E42: send 50 MW."),
        ("E42: fit 5 mΩ.", "E42: fit 5 MΩ."),
        ("E42: run chmod +x on it.", "E42: run chmod -x on it."),
        ("E42: set flag=True.", "E42: set flag!=True."),
        ("E42: connect A->B.", "E42: connect A<-B."),
        ("Written in C: rebuild.", "Written in C++: rebuild."),
        ("If the server rejects the client: renew it.", "If the client rejects the server: renew it."),
    ],
)
def test_signs_cases_and_order_that_matter_make_no_duplicate(a: str, b: str) -> None:
    assert not duplicate(a, b)


def test_the_best_supported_duplicate_survives() -> None:
    copies = (COLON, COLON.rstrip("."), COLON.lower().replace("kestrel", "Kestrel").replace("j18", "J18"))
    assert planned(held(*copies)) == Plan(("0", "1", "2"), survivor="2")
    assert planned(held(*copies, sources=(1, 2, 1))).survivor == "1"
    same_age = {key: replace(candidate, created=5) for key, candidate in held(*copies).items()}
    assert planned(same_age).survivor == "0"


def test_duplicates_go_first_and_the_rest_of_the_group_is_left() -> None:
    rest = "Kestrel-3 stops with J18. We set the gap of the idler to 4 mm and the speed to 35 percent."
    made = planned(held(rest, COLON, COLON))
    assert made == Plan(("1", "2"), survivor="2")


def test_what_agrees_is_condensed_with_the_hub_first() -> None:
    made = planned(held(COLON, "Kestrel-3 stops with J18. We set the gap of the idler to 4 mm and the speed to 35 percent."))
    assert made == Plan(("0", "1"), winners=("0", "1"))


def test_the_saving_is_estimated() -> None:
    merged = held(COLON, COLON.rstrip("."))
    assert bytes_saved(planned(merged), merged) == len(COLON)
    condensed = held(COLON, "Kestrel-3 stops with J18. Set the idler gap to 4 mm, and the speed too.")
    assert 0 < bytes_saved(planned(condensed), condensed) < sum(len(candidate.text) for candidate in condensed.values())


# -- usefulness

standings = st.builds(
    Standing,
    key=st.uuids().map(str),
    created=st.integers(0, 2**48),
    last_used=st.none() | st.integers(0, 2**48),
    good=st.integers(0, 100),
    bad=st.integers(0, 100),
    corroboration=st.integers(0, 100),
)


@given(st.lists(standings, unique_by=lambda standing: standing.key, max_size=12), st.integers(0, 15), st.integers(0, 2**48))
def test_the_least_useful_are_no_more_useful_than_those_kept(found: list[Standing], excess: int, now_ms: int) -> None:
    gone = least_useful(found, now_ms=now_ms, excess=excess)
    assert len(gone) == len(set(gone)) == min(excess, len(found))
    worth = {standing.key: usefulness(standing, now_ms=now_ms) for standing in found}
    assert all(math.isfinite(value) for value in worth.values())
    assert [worth[key] for key in gone] == sorted(worth.values())[: len(gone)]
    assert least_useful(found[::-1], now_ms=now_ms, excess=excess) == gone


def test_what_makes_an_experience_useful() -> None:
    now = 400 * DAY_MS
    plain = Standing("m", now - 60 * DAY_MS, None, 0, 0, 1)
    assert usefulness(plain, now_ms=now) == pytest.approx(0.25)
    better = [
        replace(plain, created=now),
        replace(plain, last_used=now),
        replace(plain, good=1),
        replace(plain, corroboration=2),
    ]
    worse = [replace(plain, bad=1), replace(plain, created=0)]
    assert all(usefulness(other, now_ms=now) > usefulness(plain, now_ms=now) for other in better)
    assert all(usefulness(other, now_ms=now) < usefulness(plain, now_ms=now) for other in worse)
    assert least_useful([plain, replace(plain, key="a"), replace(plain, key="z")], now_ms=now, excess=2) == ["a", "m"]


@pytest.mark.parametrize(
    "text",
    [
        "What term is not the same as force, but means the force per unit area? pressure",
        "rust. A rust is not a paint. Rust is what a wet pipe gets; it is the water, not the pipe, that brings it.",
    ],
)
def test_no_text_contradicts_itself_or_is_kept_apart_from_its_copy(text: str) -> None:
    assert not contradict(Claim.of(text), Claim.of(text))
    assert may_join(Claim.of(text), Claim.of(text))
