"""All pairs of documents that are alike, found in three ways. Each runs in a process of its own: so is its memory its own."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import data, timing
from benchmarks.alternatives import SparseIndex
from benchmarks.rivals import K1, B
from benchmarks.terms import DEFAULT, TOKENIZERS
from espeer.bm25 import BM25Index

AT_LEAST = 0.5
_BLOCK = 500  # documents whose rows the product over scipy holds at a time


@dataclass(frozen=True, slots=True)
class AllPairs:
    """What one way took.

    :ivar seconds: without making the index.
    :ivar pairs: how many pairs are at least so alike, each counted once.
    :ivar peak: the most bytes that the whole process held, with Python, texts and index; None if it cannot be told.
    """

    seconds: float
    pairs: int
    peak: int | None


def by_index(folder: Path | None, documents: int) -> AllPairs:
    """Ask espeer's index for the neighbours of every document."""
    texts = data.corpus(folder).documents[:documents]
    index = BM25Index(k1=K1, b=B, tokenizer=TOKENIZERS[DEFAULT])
    for number, text in enumerate(texts):
        index.add(str(number), text)
    seconds, found = timing.once(lambda: [index.neighbours(str(number), AT_LEAST) for number in range(len(texts))])
    return AllPairs(seconds, sum(map(len, found)) // 2, _peak())


def by_scipy(folder: Path | None, documents: int) -> AllPairs:
    """Multiply the matrix of occurrences with that of BM25 weights, a block of rows at a time."""
    tokenize = TOKENIZERS[DEFAULT]
    texts = data.corpus(folder).documents[:documents]
    index = SparseIndex([tokenize(text) for text in texts])
    seconds, pairs = timing.once(lambda: _product(index))
    return AllPairs(seconds, pairs, _peak())


def by_rank_bm25(folder: Path | None, documents: int, sample: int) -> AllPairs:
    """Ask rank_bm25 for the scores of some documents; the time is multiplied as if for all, and no pairs are counted."""
    from rank_bm25 import BM25Okapi

    tokenize = TOKENIZERS[DEFAULT]
    terms = [tokenize(text) for text in data.corpus(folder).documents[:documents]]
    okapi = BM25Okapi(terms, k1=K1, b=B)
    asked = timing.shortened(terms, sample)
    times = timing.each(lambda number: okapi.get_scores(asked[number]), len(asked))
    return AllPairs(times.mean * len(terms), 0, None)


def _product(index: SparseIndex) -> int:
    occurrences = index.matrix().astype(np.float64).tocsr()
    rows = np.repeat(np.arange(occurrences.shape[0]), np.diff(occurrences.indptr))
    weights = occurrences.copy()
    saturated = occurrences.data * (K1 + 1) / (occurrences.data + index.statistics.norms()[rows])
    weights.data = saturated * index.statistics.idfs()[weights.indices]
    own = np.asarray(occurrences.multiply(weights).sum(axis=1)).ravel()
    other_way = weights.T.tocsc()
    alike = []
    for start in range(0, occurrences.shape[0], _BLOCK):
        block = (occurrences[start : start + _BLOCK] @ other_way).tocoo()
        kept = block.data >= AT_LEAST * own[block.row + start]
        alike.append(np.stack([block.row[kept] + start, block.col[kept]]))
    asking, found = np.concatenate(alike, axis=1)
    different = asking != found
    pairs = set(zip(asking[different].tolist(), found[different].tolist(), strict=True))
    return sum((one, other) in pairs for other, one in pairs) // 2


def _peak() -> int | None:
    return timing.peak_bytes() if timing.memory_is_shown() else None
