"""Distillation: what the check refuses, and what is done then."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from scripted import with_replies

from espeer.interaction import Interaction
from espeer.lifecycle import prompts
from espeer.lifecycle.distil import Distillate, distil, extract, problems
from espeer.lifecycle.wording import instruction
from espeer.llm.engine import Engine
from espeer.llm.fake import FakeModel
from espeer.llm.model import Prompt, Sampling
from espeer.records import MAX_TEXT
from espeer.text import is_clean

EPISODE = [
    Interaction(
        1,
        0,
        "The Kestrel-3 sorter near Halmstad stops with J18 after a cold start.",
        "Restarting it twice did not help.",
        "Setting the idler gap to 4 mm cleared it.",
    )
]
GOOD = "When the Kestrel-3 near Halmstad stops with J18 after a cold start, set the idler gap to 4 mm."


async def distilled(*replies: str) -> tuple[Distillate, list[Prompt]]:
    return await with_replies(lambda engine: distil(engine, EPISODE), *replies)


def test_a_faithful_distillate_passes() -> None:
    assert problems(GOOD, EPISODE) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        ("\x1b[2J", "empty"),
        (GOOD.replace("J18", "it"), "lost j18"),
        (GOOD.replace("Kestrel-3", "sorter"), "lost kestrel-3"),
        (GOOD.replace("Halmstad", "here"), "lost halmstad"),
        (GOOD.replace("4 mm", "less"), "lost 4"),
        (GOOD.replace("4 mm", "4 mm or 7 mm"), "made up 7"),
        (GOOD + " See also K11.", "made up k11"),
        ("The Kestrel-3 near Halmstad stops with J18; try 4 times.", "lost the outcome"),
        (GOOD + " Copy every code and number of the field report.", "echoes the prompt"),
        (GOOD * 6, "too long"),
        (GOOD.replace("4 mm", "4 mm at 3 bar"), "made up 3"),  # the 3 of Kestrel-3 is no number
        (GOOD + " Then call Siemens Munich.", "made up munich, siemens"),
        (GOOD.replace("Halmstad", "Halmstadt"), "lost halmstad"),
    ],
)
def test_what_is_wrong_is_named(text: str, problem: str) -> None:
    assert any(found.startswith(problem) for found in problems(text, EPISODE)), problems(text, EPISODE)


def test_without_an_outcome_the_report_is_what_must_be_kept() -> None:
    told = [Interaction(1, 0, "The water main is behind the green panel.")]
    assert problems("The water main is behind the green panel.", told) == []
    assert problems("The cat sat on the mat.", told) == ["lost the outcome"]


async def test_a_good_first_try_is_taken() -> None:
    result, asked = await distilled(GOOD)
    assert result == Distillate(GOOD, "distilled")
    assert len(asked) == 1


async def test_a_bad_first_try_gets_one_more() -> None:
    result, asked = await distilled("Something is wrong.", "set the idler gap to 4 mm.")
    text = "The Kestrel-3 sorter near Halmstad stops with J18 after a cold start: set the idler gap to 4 mm."
    assert result == Distillate(text, "retried")
    assert len(asked) == 2


async def test_two_bad_tries_end_in_extraction() -> None:
    result, asked = await distilled("Something is wrong.", "call K99")
    assert result.method == "extractive"
    assert result.text == (
        "The Kestrel-3 sorter near Halmstad stops with J18 after a cold start. Setting the idler gap to 4 mm cleared it."
    )
    assert len(asked) == 2


def test_extraction_says_nothing_twice() -> None:
    again = [*EPISODE, Interaction(2, 1, EPISODE[0].query, "", "Now it runs.")]
    assert extract(again) == (
        "The Kestrel-3 sorter near Halmstad stops with J18 after a cold start. Setting the idler gap to 4 mm cleared it. "
        "Now it runs."
    )


def test_numbers_are_not_taken_from_codes() -> None:
    told = [Interaction(1, 0, "The pump shows E42.", "", "Purging the line for 42 s at -5 mm cured it.")]
    assert problems("When the pump shows E42, purge the line at -5 mm.", told) == ["lost 42"]
    assert problems("When the pump shows E42, purge the line for 42 s at 5 mm.", told) == ["lost -5", "made up 5"]
    assert problems("When the pump shows E42, purge the line for 42 s at -5 mm.", told) == []


def test_a_negation_is_not_lost() -> None:
    told = [Interaction(1, 0, "The pump shows E42.", "", "Do not open the bypass.")]
    assert problems("When the pump shows E42, open the bypass.", told) == ["lost a negation"]
    assert problems("When the pump shows E42, never open the bypass.", told) == []


def test_extraction_keeps_the_outcome_of_a_long_report() -> None:
    long = [Interaction(1, 0, "a" * 200 + " " + "b" * 5000, "", "Set the gap to 4 mm.")]
    assert extract(long).endswith("Set the gap to 4 mm.")
    many = [Interaction(1, 0, "Short.", "", "x" * 4090), Interaction(2, 0, "V3 leaks.", "", "Set the gap to 4 mm.")]
    assert "Set the gap to 4 mm." in extract(many)
    crowded = [Interaction(n, 0, f"Report {n} " + "r" * 900, "", f"Outcome {n} " + "o" * 900) for n in range(4)]
    assert all(f"Outcome {n}" in extract(crowded) for n in range(4))


raw = st.text(max_size=3000).filter(is_clean)


@given(st.lists(st.tuples(raw, raw | st.just("")), min_size=1, max_size=4))
def test_extraction_always_gives_a_text_that_a_record_takes(parts: list[tuple[str, str]]) -> None:
    text = extract([Interaction(number, 0, query, "", feedback) for number, (query, feedback) in enumerate(parts)])
    assert is_clean(text)
    assert len(text.encode()) <= MAX_TEXT


def test_the_prompt_holds_the_episode_and_no_examples_leak_into_the_check() -> None:
    assert EPISODE[0].feedback in prompts.distil(EPISODE).messages[-1].content
    assert EPISODE[0].response in prompts.distil(EPISODE).messages[-1].content


async def test_the_second_try_is_held_to_the_words_of_the_outcome() -> None:
    held: list[str | None] = []

    def reply(_: Prompt, sampling: Sampling) -> str:
        held.append(sampling.grammar)
        return "set the idler gap to 4 mm"

    engine = Engine(FakeModel(reply), in_thread=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        assert (await distil(engine, EPISODE)).method == "retried"
        nursery.cancel_scope.cancel()
    assert held == [None, instruction("Setting the idler gap to 4 mm cleared it.")]
