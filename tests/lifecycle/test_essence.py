"""The facts of a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espeer.lifecycle.essence import (
    Essence,
    Quantity,
    conflict,
    lacks,
    names,
    note,
    noted,
    numbers,
    quantities,
    question_and_answer,
    sentences,
    without_note,
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("4 mm", {Quantity("0.004", "m")}),
        ("0.4 cm", {Quantity("0.004", "m")}),
        ("60 seconds", {Quantity("60", "s")}),
        ("one minute", {Quantity("60", "s")}),
        ("the one that leaks", set()),
        ("five seconds", {Quantity("5", "s")}),
        ("30% of 1,000 rpm", {Quantity("30", "%"), Quantity("1000", "rpm")}),
        ("1,5 bar", {Quantity("1.5", "bar")}),
        ("-5 degrees", {Quantity("-5", "°")}),
        ("the Seventh lens", {Quantity("7", "th")}),
        ("firmware 4.07", {Quantity("4.07", "")}),
        ("version 1.2.3", {Quantity("1.2.3", "")}),
        ("Kestrel-3 with E42", set()),
    ],
)
def test_quantities(text: str, found: set[Quantity]) -> None:
    assert quantities(text) == found


@pytest.mark.parametrize(
    ("text", "question", "answer"),
    [
        (
            "When the Orla-2 dryer stops with K11 after its lid was opened, press the lid switch for 5 seconds.",
            "When the Orla-2 dryer stops with K11 after its lid was opened",
            "press the lid switch for 5 seconds.",
        ),
        (
            "Kestrel-3 stops with J18 after a cold start: set the idler gap to 4 mm.",
            "Kestrel-3 stops with J18 after a cold start",
            "set the idler gap to 4 mm.",
        ),
        ("Which organelle makes ATP? Mitochondria.", "Which organelle makes ATP?", "Mitochondria."),
        ("E42 on the pumps. Purge the line.", "E42 on the pumps.", "Purge the line."),
        ("If E42 shows, purge the line.", "If E42 shows", "purge the line."),
        ("Purge the line when E42 shows.", "when E42 shows.", "Purge the line"),
        ("The water main is behind the green panel.", "", "The water main is behind the green panel."),
        ("Set it to 4.5 mm", "", "Set it to 4.5 mm"),
    ],
)
def test_question_and_answer(text: str, question: str, answer: str) -> None:
    assert question_and_answer(text) == (question, answer)


def test_what_one_text_lacks_of_another() -> None:
    assert lacks(Essence("Set it."), Essence("On Monday set J18 to 4 mm.")) == {"monday", "j18", "4"}
    assert lacks(Essence("Monday: J18, 4"), Essence("On Monday set J18 to 4 mm.")) == set()


def test_names_and_numbers_are_not_taken_from_codes_and_beginnings() -> None:
    assert numbers("Kestrel-3 at -5 mm, 4.07 or 40s") == {"-5", "4.07", "40"}
    assert names("Purge it. Then call Siemens.") == {"siemens"}


def test_what_a_negation_is_about() -> None:
    assert Essence("Purge the line and do not open the bypass.").denied == {("open", "bypass")}
    assert Essence("Purge the line and do not open the bypass.").asserted == {"purg", "line"}
    assert Essence("A restart did not help. Purge it.").denied == {("restart",)}
    assert Essence("A restart did not help. Purge it.").asserted == {"purg"}
    assert Essence("Purge it.").denied == frozenset()


def disagree(a: str, b: str) -> bool:
    one, other = Essence(a), Essence(b)
    here, there = (conflict(*pair, whole_a=pair[0], whole_b=pair[1], alike=0.5) for pair in ((one, other), (other, one)))
    assert here == there
    return here


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("set the gap to 4 mm", "set the gap to 7 mm", True),
        ("set the gap to 4 mm", "adjust the gap to 0.4 cm", False),
        ("hold it for 5 seconds", "hold it for 5 minutes", True),
        ("hold it for five minutes", "hold it 300 s", False),
        ("set the gap to 4 mm", "set the gap to 4 mm at 20 bar", False),
        ("set the gap to 4 mm", "set the gap at 20 bar", False),  # numbers of different things
        ("set the gap to 4 mm at 7 bar", "set the gap to 7 mm at 4 bar", True),
        ("set the gap to 4", "set the gap to 7 mm", True),
        ("tighten the belt by 4 mm", "clean the sieve for 7 mm", False),  # other answers, but not by their numbers
        ("open the bypass", "do not open the bypass", True),
        ("press the lid switch", "press the lid switch, not the door switch", False),
        ("restart it", "a restart did not help", True),
        ("mask the seventh lens", "mask the ninth lens", True),
        ("pour Gundril into the tank", "pour Morvex into the tank", True),
        ("pour Gundril into the tank", "pour oil into the tank", False),
    ],
)
def test_conflicts(a: str, b: str, expected: bool) -> None:
    assert disagree(a, b) is expected


@given(st.integers(0, 1000), st.integers(1, 1000))
def test_a_note_can_be_read_and_taken_off(agreeing: int, more: int) -> None:
    text = "Purge the line." + note(agreeing, agreeing + more)
    assert noted(text) == agreeing
    assert without_note(text) == "Purge the line."


def test_nothing_is_noted_where_all_agree() -> None:
    assert note(3, 3) == ""
    assert noted("Purge the line. (2 of 3 say so.)") is None


@given(st.text())
def test_any_text_can_be_taken_apart(text: str) -> None:
    essence = Essence(text)
    assert not disagree(text, text) or essence.denied
    assert not lacks(essence, essence)
    assert all(sentence.strip() for sentence in sentences(text))
    question, answer = question_and_answer(text)
    assert len(question) + len(answer) <= len(text)
