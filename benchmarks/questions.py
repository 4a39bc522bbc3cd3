"""Questions with what others learnt about their subject: SciQ from a folder, or the incidents that ship with espeer.

The folder holds ``sciq.jsonl.gz``, rows with question, choices, answer_index, split and support (the passage that the question
was made from). It is not part of espeer: SciQ is at allenai.org/data/sciq (CC BY-NC 3.0).
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data import rows
from espeer.bm25 import BM25Index
from espeer.demo import incidents
from espeer.lifecycle.essence import sentences
from espeer.text import is_clean

SHORTEST, LONGEST = 60, 100
"""Tokens of an experience whose cost is measured."""
CHARACTERS = 400
"""The most that an experience has whose use for the answer is measured."""

_SEED = 1


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its choices, and the index of the right one."""

    text: str
    choices: tuple[str, ...]
    answer: int


@dataclass(frozen=True, slots=True)
class Material:
    """What is asked, and what can be recalled.

    :ivar source: where it is from, in words for people.
    :ivar questions: in an order without meaning.
    :ivar passages: texts of several sentences, none twice.
    """

    source: str
    questions: Sequence[Question]
    passages: Sequence[str]

    def notes(self, tokens: Callable[[str], int]) -> list[str]:
        """Return texts of whole sentences that have as many tokens as an experience whose cost is measured."""
        return [text for passage in self.passages for text in packed(sentences(passage), tokens, SHORTEST, LONGEST)]

    def short_passages(self) -> list[str]:
        """Return the beginning of each passage in whole sentences, of at most :data:`CHARACTERS` characters."""
        short = (next(packed(sentences(passage), len, 1, CHARACTERS), "") for passage in self.passages)
        return list(dict.fromkeys(filter(None, short)))


def load(folder: Path | None) -> Material:
    """Return SciQ if it is there: test questions, and the passages of its training part; else the demo's incidents."""
    if folder is None or not (file := folder / "sciq.jsonl.gz").exists():
        return _from_incidents()
    every = list(rows(file))
    questions = [
        Question(row["question"], tuple(row["choices"]), row["answer_index"]) for row in every if row["split"] == "test"
    ]
    passages = dict.fromkeys(row["support"] for row in every if row["split"] == "train" and is_clean(row["support"]))
    return Material("SciQ: test questions, passages of the training part", _shuffled(questions), list(passages))


def _from_incidents() -> Material:
    known = incidents.load()
    told = [f"{one.report} {one.attempt} {one.cure}" for one in known]
    # Two incidents make a text that is long enough; each is in two of them, as others would tell it twice.
    passages = [f"{told[number]} {told[(number + step) % len(told)]}" for step in (1, 2) for number in range(len(told))]
    questions = [Question(one.question, one.choices, one.answer) for one in known]
    return Material("the demo's incidents, two to a text (no --data given)", _shuffled(questions), passages)


def packed(parts: Sequence[str], size: Callable[[str], int], low: int, high: int) -> Iterator[str]:
    """Join neighbouring parts to texts of ``low`` to ``high`` in size. What does not fit into any is left out; none is cut.

    :param size: of a text, in tokens, say; a longer text has no smaller size.
    """
    text = ""
    for part in parts:
        longer = f"{text} {part}" if text else part
        if size(longer) <= high:
            text = longer
            continue
        if text and size(text) >= low:
            yield text
        text = part if size(part) <= high else ""
    if text and size(text) >= low:
        yield text


def best_unused(index: BM25Index, questions: Sequence[Question], k: int) -> list[list[str]]:
    """Recall ``k`` texts for each question, none of them twice: the best that no question before it has taken.

    :param index: its keys are the texts.
    :raises ValueError: there are too few texts.
    """
    if len(index) < k * len(questions):
        raise ValueError(f"{len(index)} texts are too few for {len(questions)} questions with {k} each; ask fewer")
    taken: set[str] = set()
    rest = iter(index.keys())
    found = []
    for question in questions:
        best = [key for key, _ in index.top_k(question.text, len(taken) + k) if key not in taken][:k]
        while len(best) < k:  # nothing more has a word in common with it
            if (key := next(rest)) not in taken and key not in best:
                best.append(key)
        taken.update(best)
        found.append(best)
    return found


def indexed(texts: Sequence[str]) -> BM25Index:
    """Return an index whose keys are the texts themselves."""
    index = BM25Index()
    for text in dict.fromkeys(texts):
        index.add(text, text)
    return index


def _shuffled(questions: Sequence[Question]) -> list[Question]:
    order = list(questions)
    random.Random(_SEED).shuffle(order)  # noqa: S311 - nothing secret
    return order
