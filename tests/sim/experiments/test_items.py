"""Questions to learn from and to be asked: nothing stands on both sides."""

import gzip
import json
from pathlib import Path

import pytest

from espeer.errors import InputError
from espeer.sim.experiments import questions
from espeer.sim.experiments.questions import INCIDENTS, Item


def item(id: str, question: str, *choices: str, subject: str = "s") -> Item:
    return Item(id, subject, question, choices or ("yes", "no"), 0)


LONG = "Which part of the cell makes most of its energy?"


def test_what_is_asked_in_the_same_words_is_kept_once() -> None:
    items = [item("1", LONG), item("2", LONG.upper().replace("?", " ?")), item("3", f"{LONG} Say why.")]
    assert [one.id for one in questions.without_repeats(items)] == ["1", "3"]


def test_a_question_with_two_right_answers_is_kept_once() -> None:
    items = [item("1", LONG, "mitochondria", "nucleus"), item("2", LONG, "ribosomes", "nucleus")]
    assert [one.id for one in questions.without_repeats(items)] == ["1"]


def test_short_questions_are_told_apart_by_their_choices() -> None:
    items = [
        item("1", "Which is true?", "a b", "c"),
        item("2", "Which is true?", "d", "e"),
        item("3", "Which is true?", "a b", "c"),
    ]
    assert len(questions.without_repeats(items)) == 2


def test_a_split_takes_every_item_once_and_is_the_same_for_a_seed() -> None:
    items = [item(str(number), f"question {number}") for number in range(50)]
    split = questions.split(items, 0.8, seed=7)
    assert (len(split.train), len(split.test)) == (40, 10)
    assert {one.id for one in (*split.train, *split.test)} == {one.id for one in items}
    assert split == questions.split(items, 0.8, seed=7)
    assert split != questions.split(items, 0.8, seed=8)
    assert len(questions.split(items, 0.8, seed=7, most=10).train) == 8


def test_leaks_are_found_whatever_the_spelling() -> None:
    test = [
        item("question", LONG),
        item("answer", "Why is the sky blue in the day?", "short waves are scattered more", "dust"),
        item("word", "What is frozen water called here?", "ice", "steam"),
        item("clean", "Where do penguins live in the winter?", "on the sea ice", "in trees"),
    ]
    texts = [f"Asked: {LONG.lower()}", "It is that Short waves are scattered more.", "ice is cold", "on the sea icefield"]
    assert questions.leaks(texts, test) == ["question", "answer"]


def test_the_incidents_ship_with_espeer() -> None:
    items = questions.load(None, INCIDENTS)
    assert len(items) > 50
    assert all(one.support and one.right in one.choices for one in items)


def test_data_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no mmlu\.jsonl\.gz"):
        questions.load(tmp_path, "high_school_biology")
    with gzip.open(tmp_path / "mmlu.jsonl.gz", "wt") as file:
        file.write(json.dumps({"id": "1", "subject": "law", "question": "q ", "choices": ["a", "b"], "answer_index": 1}) + "\n")
    with pytest.raises(InputError, match="has no subject 'biology'; it has law"):
        questions.load(tmp_path, "biology")
    assert questions.load(tmp_path, "law") == [Item("1", "law", "q", ("a", "b"), 1)]
