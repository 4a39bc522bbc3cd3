"""Packing: within the room, best first, and no sentence is cut."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espeer.lifecycle.essence import sentences
from espeer.llm.model import Note
from espeer.packing import Text, beginnings, pack

WORD = st.text("abc", min_size=1, max_size=4)
SENTENCE = st.builds(lambda words, end: " ".join(words) + end, st.lists(WORD, min_size=1, max_size=6), st.sampled_from(".!?"))
PROSE = st.builds(str.join, st.sampled_from([" ", "\n", " \n "]), st.lists(SENTENCE, min_size=1, max_size=5))
TEXTS = st.lists(PROSE, max_size=6).map(lambda texts: [Text(f"id{number}", text) for number, text in enumerate(texts)])
BASE = 7


def words(notes: Sequence[Note]) -> int:
    return BASE + sum(len(note.text.split()) for note in notes)


def counting(size: Callable[[Sequence[Note]], int]) -> tuple[Callable[[Sequence[Note]], int], list[int]]:
    calls: list[int] = []

    def counted(notes: Sequence[Note]) -> int:
        calls.append(len(notes))
        return size(notes)

    return counted, calls


def test_what_fits_whole_is_taken_whole_and_measured_once() -> None:
    size, calls = counting(words)
    texts = [Text("a", "One two. Three."), Text("b", "Four.")]
    packed = pack(texts, size, 100)
    assert [(one.index, one.note) for one in packed] == [(0, Note("a", "- One two. Three.\n")), (1, Note("b", "- Four.\n"))]
    assert calls == [2]


def test_what_does_not_fit_is_shortened_at_the_end_of_a_sentence_and_is_another_note() -> None:
    packed = pack([Text("a", "One two. Three four! Five six seven.")], words, BASE + 6)
    assert [one.note for one in packed] == [Note("a:20", "- One two. Three four!\n")]


def test_what_has_no_short_sentence_is_left_out_and_the_next_one_can_still_fit() -> None:
    packed = pack([Text("a", "One two three four five six."), Text("b", "Seven.")], words, BASE + 3)
    assert [(one.index, one.note.id) for one in packed] == [(1, "b")]


def test_nothing_recalled_is_nothing_measured() -> None:
    size, calls = counting(words)
    assert pack([], size, 0) == []
    assert calls == []


@given(TEXTS, st.integers(0, 60))
def test_the_room_is_kept_and_sentences_are_whole(texts: list[Text], room: int) -> None:
    packed = pack(texts, words, room)
    assert not packed or words([one.note for one in packed]) <= room
    assert [one.index for one in packed] == sorted({one.index for one in packed})
    for one in packed:
        text, said = texts[one.index], one.note.text.removeprefix("- ").removesuffix("\n")
        whole = said == text.text
        assert one.note.id == (text.id if whole else f"{text.id}:{len(said)}")
        assert text.text.startswith(said)
        assert sentences(said) == sentences(text.text)[: len(sentences(said))]


@given(TEXTS, st.integers(0, 60))
def test_no_better_experience_could_have_had_more(texts: list[Text], room: int) -> None:
    packed = {one.index: one.note for one in pack(texts, words, room)}
    for index, text in enumerate(texts):
        before = [note for other, note in packed.items() if other < index]
        taken = packed.get(index)
        if taken is not None and taken.id == text.id:
            continue
        longer = [text.text, *reversed(beginnings(text.text))]
        if taken is not None:
            longer = [more for more in longer if len(more) > len(taken.text) - len("- \n")]
        assert all(words([*before, Note("", f"- {more}\n")]) > room for more in longer)


@given(PROSE, st.integers(0, 40))
def test_the_slow_part_is_done_few_times(text: str, room: int) -> None:
    size, calls = counting(words)
    pack([Text("a", text)], size, room)
    assert len(calls) <= 2 + max(1, len(sentences(text))).bit_length()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One. Two. Three.", ["One.", "One. Two."]),
        ("One\nTwo", ["One"]),
        ("One.\n\n Two!  Three", ["One.", "One.\n\n Two!"]),
        ("Set it to 4.5 mm. Then go", ["Set it to 4.5 mm."]),
        ("Only one.", []),
        (" ", []),
    ],
)
def test_beginnings_end_where_a_sentence_does(text: str, found: list[str]) -> None:
    assert beginnings(text) == found


@given(st.text(" .!?:\nab", max_size=40))
def test_beginnings_are_of_the_text_itself(text: str) -> None:
    found = beginnings(text)
    assert all(text.startswith(one) for one in found)
    assert [len(one) for one in found] == sorted({len(one) for one in found})
    assert [len(sentences(one)) for one in found] == list(range(1, len(found) + 1))
