"""The texts that are measured on: from a folder, or made up where there is none.

The folder holds ``gsm8k.jsonl.gz`` (rows with question, answer and split), which is not part of espeer: GSM8K is at
github.com/openai/grade-school-math (MIT). What collections with judgements are: :mod:`espeer.sim.experiments.retrieval`.
"""

import argparse
import os
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espeer.sim.experiments.retrieval import rows
from espeer.tokens import STOP_WORDS

DOCUMENTS = 7473
QUERIES = 1319
_WORDS_MADE_UP = 12_000
_MEAN_WORDS = {"document": 105, "query": 46}  # of GSM8K
_SEED = 20250918


@dataclass(frozen=True, slots=True)
class Corpus:
    """Texts to index and to ask for.

    :ivar source: where they are from, in words for people.
    :ivar fresh: documents that are not among ``documents``, to be added while it is measured.
    """

    source: str
    documents: Sequence[str]
    queries: Sequence[str]
    fresh: Sequence[str]

    def first(self, documents: int) -> "Corpus":
        """Return a corpus of so many of the documents."""
        return Corpus(self.source, self.documents[:documents], self.queries, self.fresh)

    def repeated(self, copies: int) -> list[str]:
        """Return all documents so many times, each time with another word behind them."""
        return [f"{text} copy{number}" for number in range(1, copies + 1) for text in self.documents]


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--data``, the folder of the texts."""
    given = os.environ.get("ESPEER_DATA")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        default=Path(given) if given else None,
        help="folder of gsm8k.jsonl.gz and retrieval_*.jsonl.gz, or set ESPEER_DATA",
    )


def corpus(folder: Path | None) -> Corpus:
    """Return GSM8K if it is there: its training part as documents, its test questions as queries; else made-up texts."""
    if folder is None or not (file := folder / "gsm8k.jsonl.gz").exists():
        return made_up()
    every = list(rows(file))
    train = [row for row in every if row["split"] == "train"]
    test = [row for row in every if row["split"] == "test"]
    return Corpus(
        "GSM8K: train as documents (question and answer), test questions as queries",
        [f"{row['question']} {row['answer']}" for row in train],
        [row["question"] for row in test],
        [f"{row['question']} {row['answer']}" for row in test],
    )


def made_up() -> Corpus:
    """Return texts as long as GSM8K's of words as frequent as Zipf says, the stop words first; the same ones always."""
    random = np.random.default_rng(_SEED)
    words = [*sorted(STOP_WORDS), *_invented(random, _WORDS_MADE_UP)]
    share = 1 / np.arange(1, len(words) + 1)
    share /= share.sum()

    def texts(count: int, mean: int) -> list[str]:
        lengths = np.maximum(8, random.normal(mean, mean / 3, count).astype(int))
        drawn = iter(random.choice(len(words), lengths.sum(), p=share).tolist())
        return [" ".join(words[next(drawn)] for _ in range(length)) for length in lengths.tolist()]

    return Corpus(
        "made-up texts of the size of GSM8K, seeded (no --data given)",
        texts(DOCUMENTS, _MEAN_WORDS["document"]),
        texts(QUERIES, _MEAN_WORDS["query"]),
        texts(QUERIES, _MEAN_WORDS["document"]),
    )


def _invented(random: np.random.Generator, count: int) -> list[str]:
    letters = np.array(list(string.ascii_lowercase))
    words: dict[str, None] = {}
    while len(words) < count:
        word = "".join(random.choice(letters, random.integers(4, 10)))
        if word not in STOP_WORDS:
            words[word] = None
    return list(words)
