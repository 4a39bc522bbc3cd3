"""espeer's scoring made in two other ways: over a sparse matrix of scipy, and over postings by a kernel that numba compiles.

Both take new documents one by one and give the scores of ``rank_bm25.BM25Okapi``. They are not shipped: they are here so that
what :mod:`espeer.bm25` gains or loses without scipy and numba can be seen. They cannot remove documents.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.rivals import K1, B, Terms

EPSILON = 0.25
_UNMERGED = 0.05  # share of the documents that may wait outside of the large matrix


class Statistics:
    """What Okapi BM25 needs to know of the whole corpus, kept up to date document by document."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.frequencies: list[int] = []
        self.documents = 0
        self._lengths = np.zeros(1024)
        self._total_length = 0
        self._terms_by_frequency: Counter[int] = Counter()

    def add(self, terms: Terms) -> Counter[int]:
        """Count a document in; return its terms by number with their occurrences."""
        if self.documents == len(self._lengths):
            self._lengths = np.concatenate([self._lengths, np.zeros(len(self._lengths))])
        self._lengths[self.documents] = len(terms)
        self._total_length += len(terms)
        self.documents += 1
        counts = Counter(self.numbers.setdefault(term, len(self.numbers)) for term in terms)
        self.frequencies.extend([0] * (len(self.numbers) - len(self.frequencies)))
        for number in counts:
            frequency = self.frequencies[number]
            self._terms_by_frequency[frequency] -= 1
            self._terms_by_frequency[frequency + 1] += 1
            self.frequencies[number] = frequency + 1
        return counts

    def norms(self) -> NDArray[np.float64]:
        """Return by document what stands beside tf under the fraction."""
        lengths = self._lengths[: self.documents]
        return K1 * (1 - B + B * lengths * (self.documents / self._total_length))

    def known(self, terms: Terms) -> tuple[list[int], list[float]]:
        """Return the terms that a document holds, by number, and what each counts: its idf times its occurrences."""
        counts = Counter(number for term in terms if (number := self.numbers.get(term)) is not None)
        idfs = [self._idf(self.frequencies[number]) for number in counts]
        if min(idfs, default=0.0) < 0:
            common = self.common()
            idfs = [common if idf < 0 else idf for idf in idfs]
        return list(counts), [idf * count for idf, count in zip(idfs, counts.values(), strict=True)]

    def idfs(self) -> NDArray[np.float64]:
        """Return all idfs by number."""
        idfs = np.array([self._idf(frequency) for frequency in self.frequencies])
        idfs[idfs < 0] = self.common()
        return idfs

    def common(self) -> float:
        """Return the idf of terms that more than half of the documents hold."""
        total = math.fsum(count * self._idf(n) for n, count in self._terms_by_frequency.items() if n > 0 < count)
        return EPSILON * total / len(self.numbers)

    def _idf(self, frequency: int) -> float:
        return math.log((self.documents - frequency + 0.5) / (frequency + 0.5))


def best(scores: NDArray[np.float64], k: int) -> Sequence[int]:
    """Return the places of the best scores, best first."""
    places = np.argpartition(scores, -k)[-k:]
    return [int(place) for place in places[np.argsort(-scores[places])]]


class SparseIndex:
    """Occurrences in a scipy CSC matrix of documents and terms; new documents wait in a small one until it is worth merging."""

    def __init__(self, documents: Sequence[Terms]) -> None:
        from scipy import sparse

        self._sparse = sparse
        self.statistics = Statistics()
        self._waiting: list[Counter[int]] = [self.statistics.add(terms) for terms in documents]
        self._large = sparse.csc_array((0, 0))
        self._small: Any = None
        self._merge()

    def add(self, terms: Terms) -> None:
        """Let a document wait."""
        self._waiting.append(self.statistics.add(terms))
        self._small = None
        if len(self._waiting) > _UNMERGED * self.statistics.documents:
            self._merge()

    def matrix(self) -> Any:
        """Return the occurrences of all documents by term, as CSC."""
        if self._waiting:
            self._merge()
        return self._large

    def top(self, terms: Terms, k: int) -> Sequence[int]:
        """Return the best documents."""
        return best(self.scores(terms), k)

    def scores(self, terms: Terms) -> NDArray[np.float64]:
        """Return the scores of all documents."""
        numbers, weights = self.statistics.known(terms)
        norms = self.statistics.norms()
        if self._waiting and self._small is None:
            self._small = self._made(self._waiting)
        split = self._large.shape[0]
        parts = [_scored(self._large, numbers, weights, norms[:split])]
        if self._waiting:
            parts.append(_scored(self._small, numbers, weights, norms[split:]))
        return np.concatenate(parts)

    def _merge(self) -> None:
        small = self._made(self._waiting)
        if self._large.shape[0]:
            self._large.resize((self._large.shape[0], small.shape[1]))
            small = self._sparse.vstack([self._large, small], format="csc")
        self._large, self._small = small, None
        self._waiting = []

    def _made(self, documents: Sequence[Counter[int]]) -> Any:
        columns = np.array([number for counts in documents for number in counts], np.int32)
        data = np.array([count for counts in documents for count in counts.values()], np.float32)
        starts = np.cumsum([0, *map(len, documents)])
        shape = (len(documents), len(self.statistics.numbers))
        return self._sparse.csr_array((data, columns, starts), shape=shape).tocsc()


def _scored(matrix: Any, numbers: list[int], weights: list[float], norms: NDArray[np.float64]) -> NDArray[np.float64]:
    there = [(number, weight) for number, weight in zip(numbers, weights, strict=True) if number < matrix.shape[1]]
    if not there or not matrix.shape[0]:
        return np.zeros(matrix.shape[0])
    columns = matrix[:, [number for number, _ in there]]
    tf = columns.data.astype(np.float64)
    columns.data = tf * (K1 + 1) / (tf + norms[columns.indices])
    return columns @ np.array([weight for _, weight in there])


class KernelIndex:
    """Postings in arrays that grow, walked by a loop that numba compiles at the first question."""

    def __init__(self, documents: Sequence[Terms]) -> None:
        self.statistics = Statistics()
        self._slots: list[NDArray[np.int32]] = []
        self._occurrences: list[NDArray[np.float32]] = []
        self._kernel = _kernel()
        for terms in documents:
            self.add(terms)

    def add(self, terms: Terms) -> None:
        """Write a document behind the postings of its terms."""
        slot = self.statistics.documents
        for number, count in self.statistics.add(terms).items():
            if number == len(self._slots):
                self._slots.append(np.zeros(2, np.int32))
                self._occurrences.append(np.zeros(2, np.float32))
            place = self.statistics.frequencies[number] - 1
            if place == len(self._slots[number]):
                self._slots[number] = np.concatenate([self._slots[number], np.zeros(place, np.int32)])
                self._occurrences[number] = np.concatenate([self._occurrences[number], np.zeros(place, np.float32)])
            self._slots[number][place] = slot
            self._occurrences[number][place] = count

    def top(self, terms: Terms, k: int) -> Sequence[int]:
        """Return the best documents."""
        return best(self.scores(terms), k)

    def scores(self, terms: Terms) -> NDArray[np.float64]:
        """Return the scores of all documents."""
        scores = np.zeros(self.statistics.documents)
        norms = self.statistics.norms()
        for number, weight in zip(*self.statistics.known(terms), strict=True):
            length = self.statistics.frequencies[number]
            self._kernel(self._slots[number], self._occurrences[number], length, weight * (K1 + 1), norms, scores)
        return scores


def _kernel() -> Callable[..., None]:
    import numba

    @numba.njit
    def walk(  # noqa: PLR0917  numba's calls with names are slow
        slots: NDArray[np.int32],
        occurrences: NDArray[np.float32],
        length: int,
        weight: float,
        norms: NDArray[np.float64],
        scores: NDArray[np.float64],
    ) -> None:
        for place in range(length):
            slot = slots[place]
            scores[slot] += weight * occurrences[place] / (occurrences[place] + norms[slot])

    return walk
