"""How much memory a document takes in the index, and how soon an index is back at the start. Each in a process of its own."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import timing
from benchmarks.terms import EVERY_WORD, TOKENIZERS
from espeer import snapshot
from espeer.bm25 import BM25Index

WORDS = 60
_SETTINGS = "benchmark"


@dataclass(frozen=True, slots=True)
class Start:
    """What it takes to have an index back.

    :ivar load: seconds from the file to the index.
    :ivar first: seconds of the first question after that.
    :ivar size: bytes of the file.
    """

    load: float
    first: float
    size: int


def write_words(texts: Sequence[str], file: Path) -> None:
    """Write the words of texts for :func:`bytes_per_document`.

    Reading texts as they come leaves free memory behind that would hide some of what the index takes; reading this does not.
    """
    file.write_text(" ".join(word for text in texts for word in TOKENIZERS[EVERY_WORD](text)), encoding="utf-8")


def bytes_per_document(words_file: Path, documents: int, tokenizer: str) -> float:
    """Index pieces of 60 words, one of them of its own, and return what the process grew by for each.

    The texts are made one by one and not kept. Keys are as long as record ids, 64 characters, and are counted.

    :param tokenizer: one of :data:`benchmarks.terms.TOKENIZERS`.
    """
    words = words_file.read_text(encoding="utf-8").split()
    before = timing.resident_bytes()
    index = _filled(BM25Index(tokenizer=TOKENIZERS[tokenizer]), words, documents)
    index.top_k("how many are left", 5)  # what is made only when asked for belongs to it
    return (timing.resident_bytes() - before) / len(index)


def save_snapshot(words_file: Path, file: Path, documents: int) -> None:
    """Index the same pieces and write a snapshot of them."""
    words = words_file.read_text(encoding="utf-8").split()
    snapshot.save(file, _filled(BM25Index(), words, documents), settings=_SETTINGS)


def load_snapshot(file: Path) -> Start:
    """Read the snapshot, whose file the system has in its memory, as it was just written."""
    index = BM25Index()
    load, there = timing.once(lambda: snapshot.load(file, index, settings=_SETTINGS))
    if not there:
        raise RuntimeError("the snapshot just written does not fit")
    first, _ = timing.once(lambda: index.top_k("how many are left", 5))
    return Start(load, first, file.stat().st_size)


def _filled(index: BM25Index, words: Sequence[str], documents: int) -> BM25Index:
    for number in range(documents):
        start = number * (WORDS - 1) % (len(words) - WORDS)
        text = " ".join([*words[start : start + WORDS - 1], f"unit{number}"])
        index.add(hashlib.sha256(text.encode()).hexdigest(), text)
    return index
