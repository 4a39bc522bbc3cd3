"""Multiple-choice questions to learn from and to be asked: MMLU and SciQ from a folder, or the incidents that ship with espeer.

Neither data set is part of espeer. MMLU (Hendrycks et al. 2021, arXiv 2009.03300; MIT) holds questions that stand in more than
one subject or split, and SciQ (Welbl et al. 2017, arXiv 1707.06209; CC BY-NC 3.0) repeats some: what is the
same is kept once, or a test question could have been learnt from.
"""

import gzip
import json
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from espeer.demo import incidents
from espeer.errors import InputError
from espeer.text import is_clean

INCIDENTS: Final = "incidents"
"""The subject of the incidents that ship with espeer."""
SCIQ: Final = "sciq"
_MMLU_FILE: Final = "mmlu.jsonl.gz"
_SCIQ_FILE: Final = "sciq.jsonl.gz"
_WORDS: Final = re.compile(r"\w+")
_T = TypeVar("_T")
_SHORT: Final = 3
"""An answer of fewer words stands in many texts by chance: alone it gives nothing away."""


@dataclass(frozen=True, slots=True)
class Item:
    """A question with its choices.

    :ivar id: names it in its data set.
    :ivar answer: the right choice's index.
    :ivar support: what is known about it, beside the answer; may be empty.
    """

    id: str
    subject: str
    question: str
    choices: tuple[str, ...]
    answer: int
    support: str = ""

    @property
    def right(self) -> str:
        """The right choice."""
        return self.choices[self.answer]


@dataclass(frozen=True, slots=True)
class Split:
    """Items to learn from, and items to be asked."""

    train: tuple[Item, ...]
    test: tuple[Item, ...]


def load(folder: Path | None, subject: str) -> list[Item]:
    """Read the items of a subject: an MMLU subject such as ``high_school_biology``, ``sciq``, or ``incidents``.

    :raises InputError: the data is not there, or has no such subject.
    """
    if subject == INCIDENTS:
        return _of_incidents()
    name = _SCIQ_FILE if subject == SCIQ else _MMLU_FILE
    file = folder / name if folder else None
    if file is None or not file.exists():
        raise InputError(f"{subject}: there is no {name}; give its folder with --data, or ask for {INCIDENTS}")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        every = [json.loads(line) for line in lines]
    items = [_item(row) for row in every if subject == SCIQ or row["subject"] == subject]
    if not items:
        raise InputError(f"{file} has no subject {subject!r}; it has {', '.join(sorted({row['subject'] for row in every}))}")
    return [item for item in items if all(map(is_clean, (item.question, *item.choices)))]


def _item(row: dict[str, Any]) -> Item:
    support = row.get("support", "")
    return Item(
        row["id"],
        row["subject"],
        row["question"].strip(),
        tuple(choice.strip() for choice in row["choices"]),
        row["answer_index"],
        support if is_clean(support) else "",
    )


def _of_incidents() -> list[Item]:
    return [
        Item(one.id, INCIDENTS, one.question, one.choices, one.answer, f"{one.report} {one.attempt} {one.cure}")
        for one in incidents.load()
    ]


def plain(text: str) -> str:
    """Return a text's words alone, small and one space apart: what is the same for who reads it."""
    return " ".join(_WORDS.findall(text.lower()))


def without_repeats(items: Iterable[Item]) -> list[Item]:
    """Return the items without those that ask what one before them asks, in the same words and with the same right answer."""
    kept: dict[tuple[str, str], Item] = {}
    for item in items:
        kept.setdefault((plain(item.question), plain(item.right)), item)
    by_question: dict[str, Item] = {}
    for (question, _), item in kept.items():
        if len(question.split()) < 2 * _SHORT:  # "Which of the following is true?" is not one question
            by_question[f"{question}: {' '.join(sorted(map(plain, item.choices)))}"] = item
        else:
            by_question.setdefault(question, item)
    return list(by_question.values())


def distinct(folder: Path | None, subject: str) -> list[Item]:
    """Read the items of a subject without those that are repeated; see :func:`load`."""
    return without_repeats(load(folder, subject))


def split(items: Sequence[Item], share: float, seed: int, *, most: int | None = None) -> Split:
    """Divide items by chance: ``share`` of them to learn from, the others to be asked.

    :param most: take only so many of the items, the same ones for every seed.
    """
    taken = some(items, most)
    random.Random(seed).shuffle(taken)  # noqa: S311 - nothing secret
    at = round(len(taken) * share)
    return Split(tuple(taken[:at]), tuple(taken[at:]))


def never_tested(splits: Iterable[Split], most: int = 40) -> list[Item]:
    """Return items that are learnt from in every split, ``most`` at most: what a model may be tried on before a test."""
    first, *others = (split.train for split in splits)
    return [item for item in first if all(item in other for other in others)][:most]


def splits(items: Sequence[Item], share: float, seeds: Iterable[int], *, most: int | None = None) -> dict[int, Split]:
    """Divide items anew for each seed; see :func:`split`."""
    return {seed: split(items, share, seed, most=most) for seed in seeds}


def some(items: Sequence[_T], most: int | None) -> list[_T]:
    """Draw so many of the items by chance, always the same."""
    order = list(items)
    random.Random(0).shuffle(order)  # noqa: S311 - nothing secret
    return order[:most]


def leaks(texts: Iterable[str], test: Sequence[Item]) -> list[str]:
    """Return the ids of the test items whose question, or whose right answer as a sentence, stands in one of the texts.

    An answer of fewer than three words is no sentence: it stands in texts by chance.
    """
    joined = "\n".join(f" {plain(text)} " for text in texts)
    found = []
    for item in test:
        question, answer = plain(item.question), plain(item.right)
        told = len(answer.split()) >= _SHORT and f" {answer} " in joined
        if f" {question} " in joined or told:
            found.append(item.id)
    return found
