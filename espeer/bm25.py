"""An incremental BM25 index whose scores are those of ``rank_bm25.BM25Okapi`` (pure).

Okapi BM25 after Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009), with rank_bm25's floor: a term in more
than half of the documents gets ``epsilon`` times the average idf instead of its own negative one. A document is added or
removed through its own postings alone; what depends on the whole corpus (idf, average length) is computed when asked for.
"""

import math
import re
import unicodedata
from collections import Counter
from typing import Final

_STOP_WORDS = """
a about after all also am an and any are as at be because been before being but by can could did do does doing for from had
has have having he her here hers him his how i if in into is it its itself just me more most my no nor not of off on once only
or other our ours out over own same she should so some such than that the their them then there these they this those through
to too under until up very was we were what when where which while who whom why will with would you your
"""
STOP_WORDS: Final = frozenset(_STOP_WORDS.split())
"""English words that say nothing of a text's subject."""

_WORD = re.compile(r"\w+")


class BM25Index:
    """BM25 over documents that come and go. Keys are strings; ties are broken by their order.

    :param k1: how soon more occurrences of a term stop to matter.
    :param b: how much long documents are held back, 0 to 1.
    :param epsilon: the share of the average idf that very common terms get.
    """

    def __init__(self, *, k1: float = 1.5, b: float = 0.75, epsilon: float = 0.25) -> None:
        self.k1 = k1
        self.b = b
        self.epsilon = epsilon
        self._documents: dict[str, Counter[str]] = {}
        self._lengths: dict[str, int] = {}
        self._total_length = 0
        self._postings: dict[str, dict[str, int]] = {}
        self._terms_by_frequency: Counter[int] = Counter()  # document frequency -> number of terms that have it

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self._documents)

    @staticmethod
    def tokenize(text: str) -> list[str]:
        """Split into case-folded words, numbers and codes ("E42", "eth0") without :data:`STOP_WORDS`."""
        folded = unicodedata.normalize("NFKC", text).casefold()
        return [word for word in _WORD.findall(folded) if word not in STOP_WORDS]

    def add(self, key: str, text: str) -> None:
        """Add a document, in place of the one of the same key if there is one."""
        self.remove(key)
        words = self.tokenize(text)
        terms = Counter(words)
        self._documents[key] = terms
        self._lengths[key] = len(words)
        self._total_length += len(words)
        for term, occurrences in terms.items():
            postings = self._postings.setdefault(term, {})
            self._move_term(len(postings), len(postings) + 1)
            postings[key] = occurrences

    def remove(self, key: str) -> None:
        """Remove a document; one that is not there is no error."""
        terms = self._documents.pop(key, None)
        if terms is None:
            return
        self._total_length -= self._lengths.pop(key)
        for term in terms:
            postings = self._postings[term]
            self._move_term(len(postings), len(postings) - 1)
            del postings[key]
            if not postings:
                del self._postings[term]

    def scores(self, query: str) -> dict[str, float]:
        """Score every document that holds a term of the query; all others score 0.

        A score may be negative: in a corpus of a few documents most terms are "very common".
        """
        found: dict[str, float] = {}
        if not self._total_length:
            return found
        floor = self.epsilon * self._average_idf()
        average_length = self._total_length / len(self)
        for term in self.tokenize(query):
            postings = self._postings.get(term)
            if postings is None:
                continue
            idf = self._idf(len(postings))
            if idf < 0:
                idf = floor
            for key, occurrences in postings.items():
                norm = self.k1 * (1 - self.b + self.b * self._lengths[key] / average_length)
                found[key] = found.get(key, 0.0) + idf * (occurrences * (self.k1 + 1) / (occurrences + norm))
        return found

    def top_k(self, query: str, k: int) -> list[tuple[str, float]]:
        """Return the best ``k`` documents that hold a term of the query, best first, as (key, score)."""
        return sorted(self.scores(query).items(), key=lambda item: (-item[1], item[0]))[:k]

    def coverage(self, query: str, key: str) -> float:
        """Return the share of the query's distinct terms that the document holds, 0 to 1.

        Unlike a BM25 score it is comparable between queries, and means the same in a corpus of one document as in a large one.
        """
        terms = set(self.tokenize(query))
        return len(terms & self._documents[key].keys()) / len(terms) if terms else 0.0

    def _move_term(self, before: int, after: int) -> None:
        for frequency, change in ((before, -1), (after, 1)):
            if frequency:
                self._terms_by_frequency[frequency] += change
                if not self._terms_by_frequency[frequency]:
                    del self._terms_by_frequency[frequency]

    def _idf(self, frequency: int) -> float:
        return math.log(len(self) - frequency + 0.5) - math.log(frequency + 0.5)

    def _average_idf(self) -> float:
        """Average over terms, by way of the few document frequencies that occur: terms of one frequency share their idf."""
        return math.fsum(count * self._idf(n) for n, count in self._terms_by_frequency.items()) / len(self._postings)
