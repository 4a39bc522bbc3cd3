"""Condensing: what the check refuses, what is put behind, and what is done when the model is of no use."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from scripted import with_replies

from espeer.bm25 import BM25Index
from espeer.errors import ModelError
from espeer.lifecycle import prompts
from espeer.lifecycle.condense import MAX_CONDENSATE, Condensate, complete, condense, extract, problems
from espeer.lifecycle.essence import codes, note, numbers, sentences
from espeer.llm.engine import Engine
from espeer.llm.fake import FakeModel
from espeer.llm.model import Model, Prompt
from espeer.records import MAX_TEXT, METHODS
from espeer.text import is_clean

GROUP = (
    "The Kestrel-3 sorter near Halmstad stops with J18 after a cold start: set the idler gap to 4 mm.",
    "When the Kestrel-3 near Halmstad stops with J18, set the idler gap to 4 mm.",
    "J18 on the Kestrel-3 at Halmstad after a cold start. Setting the idler gap to 4 mm cleared it.",
)
GOOD = "When the Kestrel-3 sorter near Halmstad stops with J18 after a cold start, set the idler gap to 4 mm."
BAD = "When the Kestrel-3 near Halmstad stops with J18, call Siemens."
DISSENT = note(3, 4)


async def condensed(
    texts: tuple[str, ...], *replies: str, context: int = 2048, note: str = ""
) -> tuple[Condensate, list[Prompt]]:
    result, asked = await with_replies(lambda engine: condense(engine, texts, note=note), *replies, context=context)
    assert result.method in METHODS
    return result, asked


# -- the check


def test_a_faithful_condensate_passes() -> None:
    assert problems(GOOD, GROUP) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        ("\x1b[2J", "empty"),
        (GOOD.replace("J18", "it"), "lost j18"),
        (GOOD.replace("Kestrel-3", "sorter"), "lost kestrel-3"),
        (GOOD.replace("Halmstad", "here"), "lost halmstad"),
        (GOOD.replace("4 mm", "less"), "lost 4"),
        (GOOD.replace("4 mm", "4"), "lost the unit of 0.004"),
        (GOOD.replace("4 mm", "4 mm or 7 mm"), "made up 7"),
        (GOOD.replace("4 mm", "4 mm, four metres"), "made up 4"),
        (GOOD + " See also K11.", "made up k11"),
        (GOOD + " Then call Siemens.", "made up siemens"),
        (GOOD + " Never open it.", "made up a negation"),
        (GOOD.replace("set the idler gap to 4 mm", "use 4 mm"), "lost what the sources agree on"),
        (GOOD + " Merge notes on the printer roller.", "echoes the prompt"),
        (GOOD * 4, "too long"),
    ],
)
def test_what_is_wrong_is_named(text: str, problem: str) -> None:
    assert any(found.startswith(problem) for found in problems(text, GROUP)), problems(text, GROUP)


def test_what_half_of_the_sources_say_is_not_agreed_on() -> None:
    two = ("Purge the line of the pump for 40 s.", "Purge the line of the pump.")
    assert problems("Purge the line of the pump.", two) == []
    assert problems("Purge the line of the pump.", (two[0], *two))[:2] == ["lost 40", "lost the unit of 40"]


def test_no_source_is_forgotten() -> None:
    apart = ("Purge the line of the pump.", "Bleed both hoses slowly, then wait.")
    assert problems("Purge the line of the pump.", apart) == ["forgot a source"]


def test_a_negation_that_most_have_is_kept() -> None:
    group = (
        "Do not open the bypass of the pump.",
        "Never open the bypass of the pump.",
        "The bypass of the pump: open it later.",
    )
    assert problems("Open the bypass of the pump.", group) == ["lost a negation"]
    assert problems("Never open the bypass of the pump.", group) == []


# -- the model


async def test_a_good_first_try_is_taken() -> None:
    result, asked = await condensed(GROUP, GOOD)
    assert result == Condensate(GOOD, "condensed")
    assert len(asked) == 1
    assert all(text in asked[0].messages[-1].content for text in GROUP)


async def test_what_a_try_lacks_is_put_behind_it() -> None:
    group = (*GROUP, "J18 on the Kestrel-3 at Halmstad. Letting the rollers thaw overnight works as well.")
    result, asked = await condensed(group, GOOD)
    assert result == Condensate(f"{GOOD} Letting the rollers thaw overnight works as well.", "condensed")
    assert len(asked) == 1


async def test_a_bad_first_try_gets_one_more() -> None:
    result, asked = await condensed(GROUP, BAD, "set the idler gap to 4 mm")
    text = "The Kestrel-3 sorter near Halmstad stops with J18 after a cold start: set the idler gap to 4 mm."
    assert result == Condensate(text, "condensed")
    assert len(asked) == 2
    assert asked[1] == prompts.instruct("set the idler gap to 4 mm.")


async def test_two_bad_tries_end_in_extraction() -> None:
    result, asked = await condensed(GROUP, BAD, "call K99")
    assert result == Condensate(extract(GROUP), "extractive")
    assert problems(result.text, GROUP) == []
    assert len(asked) == 2


@pytest.mark.parametrize("replies", [(GOOD,), (BAD, "call K99")])
async def test_the_note_is_put_behind_and_those_of_the_sources_dropped(replies: tuple[str, ...]) -> None:
    noted_before = (GROUP[0] + note(1, 2), *GROUP[1:])
    result, asked = await condensed(noted_before, *replies, note=DISSENT)
    plain, _ = await condensed(GROUP, *replies)
    assert result.text == plain.text + DISSENT
    assert all("sources agree" not in turn.content for prompt in asked for turn in prompt.messages)


async def test_a_text_alone_is_left_as_it_is() -> None:
    result, asked = await condensed(("Purge the line\nfor 40 s",), note=DISSENT)
    assert result == Condensate("Purge the line\nfor 40 s" + DISSENT, "extractive")
    assert asked == []


async def test_what_does_not_fit_the_context_is_extracted() -> None:
    result, asked = await condensed(GROUP, GOOD, context=50)
    assert result == Condensate(extract(GROUP), "extractive")
    assert asked == []


async def test_a_model_that_fails_is_done_without_and_a_stopped_engine_is_the_callers() -> None:
    model = FakeModel()
    model.close()
    engine = Engine(model, in_thread=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        assert (await condense(engine, GROUP)).method == "extractive"
        nursery.cancel_scope.cancel()
    with pytest.raises(ModelError):
        await condense(engine, GROUP)


@pytest.mark.model
async def test_with_the_default_model_every_source_still_finds_the_condensate(real_model: Model) -> None:
    engine = Engine(real_model)
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        result = await condense(engine, GROUP)
        nursery.cancel_scope.cancel()
    assert problems(result.text, GROUP) == []
    index = BM25Index()
    index.add("condensate", result.text)
    for number in range(20):
        index.add(str(number), f"The Kestrel-{number + 4} sorter stops with J{number + 19}: set the belt to {number} mm.")
    assert all(index.search(text, k=1)[0].key == "condensate" for text in GROUP)


# -- completing and extracting


def test_nothing_is_put_behind_what_makes_something_up() -> None:
    assert complete(BAD, GROUP) == BAD
    assert complete("", GROUP) == ""


def test_nothing_is_put_behind_where_there_is_no_room() -> None:
    lead = "When the Kestrel-3 near Halmstad stops with J18, set the idler gap."
    assert complete(lead, GROUP).startswith(lead + " ")
    assert complete(lead, GROUP, room=100) == lead


def test_extraction_says_nothing_twice() -> None:
    assert extract((GROUP[0], GROUP[0], "Set the idler gap to 4 mm.")) == GROUP[0]


def test_extraction_keeps_what_only_one_source_adds() -> None:
    group = (
        *GROUP,
        "Kestrel-3 stops with J18: set the idler gap to 4 mm. Do not loosen bolt B7. Grease the chain before winter.",
    )
    text = extract(group)
    assert "Do not loosen bolt B7." in text
    assert "Grease the chain before winter." in text
    assert len(text) < sum(map(len, group)) / 2


def test_extraction_takes_what_is_agreed_on_first() -> None:
    babble = " ".join(f"word{number}er" for number in range(40)).replace("word", "wörd") + "."
    group = (f"{babble} Set the gap to 4 mm.", f"{babble.upper()} Use a gap of 4 mm.", "The gap should be 4 mm.")
    assert "4 mm" in extract(group, room=60)


def test_extraction_cuts_a_line_that_is_too_long_at_a_word() -> None:
    line = "error " * 400 + "end"
    assert extract((line, line)) == ("error " * 100).strip()[:MAX_CONDENSATE]
    assert len(extract(("x" * 4000, "ö" * 2000))) == MAX_CONDENSATE


raw = st.text(max_size=900).filter(is_clean)
words = st.sampled_from(
    ["pump", "line", "purge", "valve", "E42", "J18", "4 mm", "7 bar", "not", "Halmstad", "the", ".", ":", "\n"]
)
made = st.lists(words, min_size=1, max_size=40).map(" ".join).filter(is_clean)


@given(st.lists(raw | made, min_size=1, max_size=5), st.sampled_from([MAX_CONDENSATE, 300]))
def test_extraction_always_gives_a_short_text_that_a_record_takes(sources: list[str], room: int) -> None:
    text = extract(sources, room=room)
    assert is_clean(text)
    assert len(text) <= room
    assert len(text.encode()) <= MAX_TEXT
    together = " ".join(sentence for source in sources for sentence in sentences(source))
    assert text in sources or len(text) <= len(together)


@given(st.lists(made, min_size=2, max_size=5))
def test_extraction_keeps_agreed_codes_and_numbers_when_they_fit(sources: list[str]) -> None:
    text = extract(sources, room=sum(map(len, sources)) * 2)
    for facts in (codes, numbers):
        every = {fact for source in sources for fact in facts(source)}
        assert every <= facts(text)


@given(st.lists(made, min_size=2, max_size=5), made | st.just(GOOD))
def test_what_is_completed_passes_or_is_what_it_was(sources: list[str], lead: str) -> None:
    text = complete(lead, sources)
    assert text == lead or (problems(text, sources) == [] and len(text) <= MAX_CONDENSATE)


@given(st.lists(made, min_size=2, max_size=4))
def test_an_extract_passes_the_check_where_there_is_room(sources: list[str]) -> None:
    found = problems(extract(sources), sources)
    assert [problem for problem in found if not problem.startswith("forgot a source")] == []
