"""An incremental BM25 index whose scores are those of ``rank_bm25.BM25Okapi`` (pure).

Okapi BM25 after Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009), with rank_bm25's floor: a term in more
than half of the documents gets ``epsilon`` times the average idf instead of its own negative one.

A document is added or removed through its own postings alone. What depends on the whole corpus (idf, average length) is brought
up to date when it is asked for. A score is a sum over terms of ``idf * tf * (k1 + 1) / (tf + norm)``, and ``norm`` depends on
the document only: so a query costs one pass over its terms' postings (:mod:`espeer.scoring`).
"""

import math
from array import array
from bisect import insort
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from espeer.postings import MAX_OCCURRENCES, Dump, Postings, cut, ends, joined, packed, unpacked
from espeer.scale import Scale
from espeer.scoring import Floats, accumulate
from espeer.scoring import count as count_hits
from espeer.tokens import Tokenizer

_ROWS: Final = 32
"""The scores are looked at as so many rows when the best are sought, see :meth:`BM25Index._best`."""
_LEAST_ROOM: Final = 1024
_TINY: Final = float(np.finfo(np.float64).smallest_subnormal)
_ROUNDING: Final = 1e-9
"""A similarity is a sum in another order than the one it is compared with: equal texts may be a hair less alike than 1."""
_LOWEST: Final = float(np.finfo(np.float64).min)
SMALL_CORPUS: Final = 10
"""Below this many documents Okapi's idf is near zero or negative for almost every term."""


@dataclass(frozen=True, slots=True)
class Match:
    """A document that was found.

    :ivar score: its BM25 score for the query.
    :ivar coverage: the share of the query's distinct terms that it holds, 0 to 1. Unlike a BM25 score it is comparable
        between queries, and means the same in a corpus of one document as in a large one.
    """

    key: str
    score: float
    coverage: float


class BM25Index:
    """BM25 over documents that come and go. Keys are strings; ties are broken by their order.

    :param k1: how soon more occurrences of a term stop to matter.
    :param b: how much long documents are held back, 0 to 1.
    :param epsilon: the share of the average idf that very common terms get.
    :param tokenizer: splits texts and queries into terms.
    """

    tokenize: Callable[[str], list[str]] = Tokenizer()
    """The terms of a text, as :meth:`add` and :meth:`scores` take them."""

    def __init__(
        self,
        *,
        k1: float = 1.5,
        b: float = 0.75,
        epsilon: float = 0.25,
        tokenizer: Callable[[str], list[str]] | None = None,
    ) -> None:
        self.k1 = k1
        self.b = b
        self.epsilon = epsilon
        if tokenizer is not None:
            self.tokenize = tokenizer
        self._slots: dict[str, int] = {}
        self._keys: list[str] = []  # by slot; "" in a free one
        self._forward: list[bytes] = []  # by slot: the document's terms, see espeer.postings.packed
        self._labels = np.zeros(_LEAST_ROOM, np.int32)
        self._lengths = np.zeros(_LEAST_ROOM)
        self._free: list[int] = []
        self._total_length = 0
        self._label_numbers: dict[str, int] = {}
        self._numbers: dict[str, int] = {}  # term -> its number
        self._postings = Postings([], [], [], [])
        self._frequencies = array("I")  # by number: how many documents hold the term
        self._free_numbers: list[int] = []
        self._forget()

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self._slots)

    def __contains__(self, key: str) -> bool:
        """Return whether there is a document of that key."""
        return key in self._slots

    def keys(self, *, label: str | None = None) -> list[str]:
        """Return the keys of all documents, or of those with a label."""
        if label is None:
            return list(self._slots)
        labelled = np.flatnonzero(self._labels[: len(self._keys)] == self._label_numbers.get(label, -1)).tolist()
        return [key for slot in labelled if (key := self._keys[slot])]

    # -- changing

    def add(self, key: str, text: str, *, label: str = "") -> None:
        """Add a document, in place of the one of the same key if there is one.

        :param label: what :meth:`search` can ask for.
        """
        self.remove(key)
        terms = self.tokenize(text)
        slot = self._free.pop() if self._free else self._new_slot()
        known, frequencies, counts = self._numbers, self._frequencies, Counter(terms)
        numbers = [known[term] if term in known else self._new_number(term) for term in counts]
        occurrences = list(counts.values())
        if len(terms) > MAX_OCCURRENCES:
            occurrences = [min(count, MAX_OCCURRENCES) for count in occurrences]
        for number in numbers:
            frequencies[number] += 1
        self._postings.add(slot, numbers, occurrences)
        self._slots[key] = slot
        self._keys[slot] = key
        self._forward[slot] = packed(numbers, occurrences)
        self._labels[slot] = self._label_numbers.setdefault(label, len(self._label_numbers))
        self._lengths[slot] = len(terms)
        self._total_length += len(terms)
        self._forget()

    def remove(self, key: str) -> None:
        """Remove a document; one that is not there is no error."""
        slot = self._slots.pop(key, None)
        if slot is None:
            return
        numbers, occurrences = (values.tolist() for values in unpacked(self._forward[slot]))
        self._postings.remove(slot, numbers, occurrences)
        for number in numbers:
            self._frequencies[number] -= 1
            if not self._frequencies[number]:
                del self._numbers[self._postings.terms[number]]
                self._free_numbers.append(number)
        self._keys[slot], self._forward[slot] = "", b""
        self._labels[slot] = -1
        self._total_length -= int(self._lengths[slot])
        self._lengths[slot] = 0
        self._free.append(slot)
        self._forget()

    # -- asking

    def scores(self, query: str) -> dict[str, float]:
        """Score every document that holds a term of the query; all others score 0.

        A score may be negative: in a corpus of a few documents most terms are "very common".
        """
        numbers, weights = self._weighed(self.tokenize(query))
        if not numbers:
            return {}
        scores = self._scored(numbers, weights)
        found = np.flatnonzero(self._hits(numbers))
        return dict(zip(map(self._keys.__getitem__, found.tolist()), scores[found].tolist(), strict=True))

    def top_k(self, query: str, k: int) -> list[tuple[str, float]]:
        """Return the best ``k`` documents that hold a term of the query, best first, as (key, score)."""
        numbers, weights = self._weighed(self.tokenize(query))
        if not numbers:
            return []
        scores = self._scored(numbers, weights)
        if min(weights) > 0:
            return self._best(scores, k, least=_TINY)
        scores[self._hits(numbers) == 0] = -np.inf  # what was found may score no more than what was not
        return self._best(scores, k)

    def search(self, query: str, k: int, *, labels: Collection[str] | None = None, min_coverage: float = 0.0) -> list[Match]:
        """Return the best ``k`` documents that hold a term of the query, best first.

        :param labels: only documents with one of these labels.
        :param min_coverage: only documents that hold this share of the query's distinct terms, 0 to 1.
        """
        terms = self.tokenize(query)
        numbers, weights = self._weighed(terms)
        if not numbers:
            return []
        scores = self._scored(numbers, weights)
        hits = self._hits(numbers)
        distinct = len(set(terms))
        scores[hits < max(1, min_coverage * distinct)] = -np.inf
        if labels is not None:
            wanted = [self._label_numbers[label] for label in labels if label in self._label_numbers]
            scores[~np.isin(self._labels, wanted)] = -np.inf
        return [Match(key, score, int(hits[self._slots[key]]) / distinct) for key, score in self._best(scores, k)]

    def neighbours(
        self, key: str, at_least: float, *, scale: Scale = "normalised", label: str | None = None, k: int | None = None
    ) -> list[tuple[str, float]]:
        """Return the documents that are at least so similar to the document ``key``, the most similar first.

        Below :data:`SMALL_CORPUS` documents all terms weigh the same: idf says nothing there.
        One call holds one row of the matrix of all pairs; of all pairs only those that are returned are ever held.
        :param label: only documents with this label.
        :param k: the best so many of them; None for all.
        """
        own = self._slots[key]
        numbers, occurrences = unpacked(self._forward[own])
        if not len(numbers):
            return []
        weights = np.zeros(len(self._postings))  # of the own terms, when another document asks for them
        weights[numbers] = self._idfs()[numbers] * self._saturation(occurrences, own)
        row = self._scored(numbers.tolist(), (self._idfs()[numbers] * occurrences).tolist())
        norm = self._self_score(own) if scale == "normalised" else 1.0
        least = at_least * (1 - _ROUNDING)
        wanted = row >= max(least * norm, _TINY)
        wanted[own] = False
        if label is not None:
            wanted &= self._labels == self._label_numbers.get(label, -2)
        slots = np.flatnonzero(wanted)
        slots = slots[np.argsort(-row[slots], kind="stable")]
        found: list[tuple[float, str]] = []  # in order: by falling similarity, then by key
        for slot, forth in zip(slots.tolist(), np.maximum(row[slots] / norm, at_least).tolist(), strict=True):
            if k is not None and len(found) >= k and forth < -found[k - 1][0]:
                break  # none that follows can be more similar than it is in this direction
            others, often = unpacked(self._forward[slot])
            other_norm = self._self_score(slot) if scale == "normalised" else 1.0
            similarity = min(forth, float(weights[others] @ often) / other_norm)
            if similarity >= least:
                similarity = max(similarity, at_least)
                similarity = similarity if scale == "raw" else min(similarity, 1.0)
                insort(found, (-similarity, self._keys[slot]))
        return [(other, -negated) for negated, other in found[:k]]

    # -- keeping

    def dump(self) -> Dump:
        """Return what the index holds, to be kept; see :meth:`load`."""
        slots = list(self._slots.values())
        numbers = list(self._numbers.values())
        new_slot = np.zeros(len(self._keys), np.uint32)
        new_slot[slots] = np.arange(len(slots))
        new_number = np.zeros(len(self._postings), np.uint32)
        new_number[numbers] = np.arange(len(numbers))
        ones, more, occurrences = (
            [lists[number] for number in numbers]
            for lists in (self._postings.ones, self._postings.more, self._postings.occurrences)
        )
        forward = []
        for slot in slots:
            own, often = unpacked(self._forward[slot])
            forward.append(new_number[own].tobytes() + often.tobytes())
        return Dump(
            strings={"keys": list(self._slots), "terms": list(self._numbers), "labels": list(self._label_numbers)},
            arrays={
                "label": self._labels[slots],
                "length": self._lengths[slots],
                "ones": new_slot[joined(ones, np.uint32)],
                "ones_ends": ends(ones, size=4),
                "more": new_slot[joined(more, np.uint32)],
                "more_ends": ends(more, size=4),
                "occurrences": joined(occurrences, np.uint16),
                "forward": joined(forward, np.uint8),
                "forward_ends": ends(forward),
            },
        )

    def load(self, dump: Dump) -> None:
        """Take in what :meth:`dump` returned, in place of what is here. The settings must be those of then."""
        keys, terms, labels = (dump.strings[name] for name in ("keys", "terms", "labels"))
        arrays = dump.arrays
        room = max(_LEAST_ROOM, -(-len(keys) // _ROWS) * _ROWS)
        self._labels = np.full(room, -1, np.int32)
        self._labels[: len(keys)] = arrays["label"]
        self._lengths = np.zeros(room)
        self._lengths[: len(keys)] = arrays["length"]
        self._total_length = int(arrays["length"].sum())
        self._keys, self._free, self._free_numbers = keys, [], []
        self._slots = dict(zip(keys, range(len(keys)), strict=True))
        self._numbers = dict(zip(terms, range(len(terms)), strict=True))
        self._label_numbers = dict(zip(labels, range(len(labels)), strict=True))
        self._forward = cut(arrays["forward"], arrays["forward_ends"])
        self._postings = Postings(
            terms,
            cut(arrays["ones"], arrays["ones_ends"]),
            cut(arrays["more"], arrays["more_ends"]),
            cut(arrays["occurrences"], arrays["more_ends"]),
        )
        held = np.diff(arrays["ones_ends"], prepend=0) + np.diff(arrays["more_ends"], prepend=0)
        self._frequencies = array("I", held.astype(np.uint32).tobytes())
        self._forget()

    # -- scoring

    def _weighed(self, terms: Sequence[str]) -> tuple[list[int], list[float]]:
        """Return those of a query's terms that a document holds, by number, and what each weighs: its idf times its count."""
        known = Counter([number for term in terms if (number := self._numbers.get(term)) is not None])
        documents, frequencies = len(self._slots), self._frequencies
        weights = []
        for number, times in known.items():
            frequency = frequencies[number]
            idf = math.log((documents - frequency + 0.5) / (frequency + 0.5))
            weights.append(times * (idf if idf >= 0 else self._common()))
        return list(known), weights

    def _scored(self, numbers: Sequence[int], weights: Sequence[float]) -> Floats:
        """Return by slot the score for terms of these weights; 0 where there is none of them."""
        scores = np.zeros(len(self._lengths))
        postings = self._postings
        accumulate(
            scores,
            self._lengths,
            *self._norm(),
            [postings.ones[number] for number in numbers],
            [postings.more[number] for number in numbers],
            [postings.occurrences[number] for number in numbers],
            [weight * (self.k1 + 1) for weight in weights],
        )
        return scores

    def _norm(self) -> tuple[float, float]:
        """Return the two parts of what a document's length does: the constant, and that of every term."""
        return self.k1 * (1 - self.b), self.k1 * self.b * len(self) / self._total_length

    def _hits(self, numbers: Iterable[int]) -> NDArray[np.int32]:
        """Return by slot how many of these terms the document holds."""
        hits = np.zeros(len(self._lengths), np.int32)
        count_hits(hits, [lists[number] for number in numbers for lists in (self._postings.ones, self._postings.more)])
        return hits

    def _best(self, scores: Floats, k: int, *, least: float = _LOWEST) -> list[tuple[str, float]]:
        """Return the ``k`` best documents that score at least ``least``.

        The k-th best of the columns' best scores is a bound that at least k documents reach: only those are sorted.
        """
        if k <= 0:
            return []
        columns = scores.reshape(_ROWS, -1).max(axis=0)
        bound = max(least, np.partition(columns, -k)[-k]) if k < len(columns) else least
        slots = np.flatnonzero(scores >= bound)
        found = zip(map(self._keys.__getitem__, slots.tolist()), scores[slots].tolist(), strict=True)
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:k]

    def _saturation(self, occurrences: NDArray[Any], slot: int) -> Floats:
        flat, slope = self._norm()
        tf = occurrences.astype(np.float64)
        saturation: Floats = tf * (self.k1 + 1) / (tf + flat + slope * self._lengths[slot])
        return saturation

    def _self_score(self, slot: int) -> float:
        """Return the score of a document when it is the query itself."""
        known = self._self_scores.get(slot)
        if known is None:
            numbers, occurrences = unpacked(self._forward[slot])
            known = float(self._idfs()[numbers] * occurrences @ self._saturation(occurrences, slot))
            self._self_scores[slot] = known
        return known

    # -- what depends on the whole corpus, made when it is asked for

    def _forget(self) -> None:
        """Note that the corpus has changed."""
        self._floor: float | None = None
        self._all_idfs: Floats | None = None
        self._self_scores: dict[int, float] = {}

    def _common(self) -> float:
        """Return the idf of terms that more than half of the documents hold."""
        if self._floor is None:
            terms_by_frequency = np.bincount(np.frombuffer(self._frequencies, np.uint32))
            terms_by_frequency[0] = 0
            occurring = np.flatnonzero(terms_by_frequency)
            total = terms_by_frequency[occurring] @ _idfs(occurring, len(self))
            self._floor = self.epsilon * float(total) / len(self._numbers)
        return self._floor

    def _idfs(self) -> Floats:
        """Return by number what a term weighs between two documents: its idf, or 1 where the corpus is too small for one."""
        if self._all_idfs is None:
            if len(self) < SMALL_CORPUS:
                self._all_idfs = np.ones(len(self._postings))
            else:
                idfs = _idfs(np.frombuffer(self._frequencies, np.uint32), len(self))
                idfs[idfs < 0] = max(self._common(), 0.0)
                self._all_idfs = idfs
        return self._all_idfs

    # -- room

    def _new_slot(self) -> int:
        slot = len(self._keys)
        self._keys.append("")
        self._forward.append(b"")
        if slot == len(self._lengths):
            more = np.zeros(slot // 2 // _ROWS * _ROWS)
            self._lengths = np.concatenate([self._lengths, more])
            self._labels = np.concatenate([self._labels, more.astype(np.int32)])
        return slot

    def _new_number(self, term: str) -> int:
        if self._free_numbers:
            number = self._free_numbers.pop()
            self._postings.terms[number] = term
        else:
            number = len(self._postings)
            self._postings.append(term)
            self._frequencies.append(0)
        self._numbers[term] = number
        return number


def _idfs(frequencies: NDArray[Any], documents: int) -> Floats:
    numbers = frequencies.astype(np.float64)
    idfs: Floats = np.log((documents - numbers + 0.5) / (numbers + 0.5))
    return idfs
