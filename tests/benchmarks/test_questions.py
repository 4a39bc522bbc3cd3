"""Texts of whole sentences, and which of them belong to which question."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.questions import CHARACTERS, LONGEST, SHORTEST, Question, best_unused, indexed, load, packed


def words(text: str) -> int:
    return len(text.split())


def test_whole_parts_are_joined_up_to_the_size() -> None:
    assert list(packed(["a b", "c d", "e f", "g"], words, 3, 4)) == ["a b c d", "e f g"]


def test_what_stays_too_short_or_is_too_long_is_left_out() -> None:
    assert list(packed(["a", "b c d e f", "g h i"], words, 2, 4)) == ["g h i"]
    assert list(packed([], words, 1, 4)) == []


@given(st.lists(st.integers(1, 12), max_size=30), st.integers(1, 6), st.integers(6, 12))
def test_every_text_is_of_neighbours_and_in_the_range(sizes: list[int], low: int, high: int) -> None:
    parts = [" ".join([f"w{number}"] * size) for number, size in enumerate(sizes)]
    texts = list(packed(parts, words, low, high))
    assert all(low <= words(text) <= high for text in texts)
    everything = f" {' '.join(parts)} "
    assert all(f" {text} " in everything for text in texts)
    used = [word for text in texts for word in text.split()]
    assert all(used.count(f"w{number}") in {0, size} for number, size in enumerate(sizes))  # no part is cut or used twice


def test_no_text_belongs_to_two_questions() -> None:
    texts = ["red fox", "red hen", "red cow", "blue sky", "green sea", "old oak"]
    asked = [Question("red", ("a", "b"), 0), Question("red hen", ("a", "b"), 0), Question("nothing", ("a", "b"), 0)]
    found = best_unused(indexed(texts), asked, 2)
    assert len({text for notes in found for text in notes}) == 6
    assert all("red" in text for text in found[0])
    with pytest.raises(ValueError, match="6 texts are too few for 3 questions with 3 each"):
        best_unused(indexed(texts), asked, 3)


def test_without_a_folder_there_are_the_incidents() -> None:
    material = load(None)
    assert len({question.text for question in material.questions}) == len(material.questions) > 60
    assert "incidents" in material.source
    # The tokens of a model are shorter than words; this many are sure to make enough texts for a quick run.
    assert len(material.notes(lambda text: len(text) // 4)) >= 32
    assert all(len(text) <= CHARACTERS for text in material.short_passages())


def test_of_sciq_the_test_part_asks_and_the_training_part_tells(tmp_path: Path) -> None:
    told = "Water boils at 100 degrees. " * 20
    rows = [
        {"split": "train", "question": "t?", "choices": ["a", "b"], "answer_index": 0, "support": told},
        {"split": "train", "question": "u?", "choices": ["a", "b"], "answer_index": 0, "support": told},
        {"split": "train", "question": "v?", "choices": ["a", "b"], "answer_index": 0, "support": ""},
        {"split": "test", "question": "q?", "choices": ["a", "b"], "answer_index": 1, "support": "Not to be told."},
    ]
    with gzip.open(tmp_path / "sciq.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    material = load(tmp_path)
    assert material.questions == [Question("q?", ("a", "b"), 1)]
    assert material.passages == [told]
    assert [len(text) <= CHARACTERS and text.endswith(".") for text in material.short_passages()] == [True]
    assert all(SHORTEST <= words(text) <= LONGEST for text in material.notes(words))


def test_a_folder_without_sciq_is_no_folder(tmp_path: Path) -> None:
    assert load(tmp_path).source == load(None).source
