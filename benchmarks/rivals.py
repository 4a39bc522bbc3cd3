"""What others offer, behind one face: built from terms, asked with terms. All with k1 1.5 and b 0.75 where it can be told.

They are imported when they are made: what one of them costs to import is measured too.
"""

import copy
import importlib.util
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

Terms = list[str]

K1 = 1.5
B = 0.75

PACKAGES = {"rank_bm25": "rank-bm25", "bm25s": "bm25s", "numba": "numba", "scipy": "scipy", "tantivy": "tantivy"}
"""Module -> what pip calls it."""


class Engine(Protocol):
    """What is asked for the best documents, by their number in the order they were added."""

    def top(self, terms: Terms, k: int) -> Sequence[int]:
        """Return the best documents, best first."""

    def add(self, terms: Terms) -> None:
        """Add one document so that the next question finds it."""


def missing(*modules: str) -> str:
    """Return the command that installs what is missing of these, or "" if nothing is."""
    absent = [PACKAGES[module] for module in modules if importlib.util.find_spec(module) is None]
    return f"pip install {' '.join(absent)}" if absent else ""


class RankBM25:
    """rank_bm25's Okapi. Has no way to add: a new index is made."""

    def __init__(self, documents: Sequence[Terms]) -> None:
        from rank_bm25 import BM25Okapi

        self._make = BM25Okapi
        self._documents = list(documents)
        self.okapi = BM25Okapi(self._documents, k1=K1, b=B)

    def top(self, terms: Terms, k: int) -> Sequence[int]:
        """Return the best; ``get_top_n`` sorts all of them, which is slower."""
        scores = self.okapi.get_scores(terms)
        best = np.argpartition(scores, -k)[-k:]
        return best[np.argsort(-scores[best])].tolist()

    def add(self, terms: Terms) -> None:
        """Make a new index."""
        self._documents.append(terms)
        self.okapi = self._make(self._documents, k1=K1, b=B)


class BM25S:
    """bm25s with the method that is the nearest to Okapi. Has no way to add: a new index is made.

    :param backend: "numpy" or "numba", used by ``retrieve``.
    :param ready: what bm25s has made of the documents already, if anything.
    """

    def __init__(self, documents: Sequence[Terms], backend: str = "numpy", ready: Any = None) -> None:
        self._documents = list(documents)
        self._backend = backend
        self._retriever = self._made() if ready is None else ready

    def _made(self) -> Any:
        import bm25s

        retriever = bm25s.BM25(k1=K1, b=B, method="robertson", backend=self._backend)
        retriever.index(self._documents, show_progress=False)
        return retriever

    def with_backend(self, backend: str) -> "BM25S":
        """Return the same index, asked by way of another backend."""
        ready = copy.copy(self._retriever)
        ready.backend = backend
        return BM25S(self._documents, backend, ready)

    def top(self, terms: Terms, k: int) -> Sequence[int]:
        """Return what bm25s retrieves for one query."""
        return self._retriever.retrieve([terms], k=k, show_progress=False).documents[0]

    def add(self, terms: Terms) -> None:
        """Make a new index."""
        self._documents.append(terms)
        self._retriever = self._made()


class FTS5:
    """SQLite's full-text search, in memory, with its own BM25 (k1 1.2, b 0.75)."""

    def __init__(self, documents: Sequence[Terms]) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self._connection.execute("CREATE VIRTUAL TABLE documents USING fts5(text, content='')")
        self._connection.execute("BEGIN")
        for terms in documents:
            self.add(terms)
        self._connection.execute("COMMIT")

    def top(self, terms: Terms, k: int) -> Sequence[int]:
        """Ask for any of the terms."""
        match = " OR ".join(f'"{term}"' for term in terms)
        query = "SELECT rowid FROM documents WHERE documents MATCH ? ORDER BY rank LIMIT ?"
        return [row - 1 for (row,) in self._connection.execute(query, (match, k))]

    def add(self, terms: Terms) -> None:
        """Insert a row."""
        self._connection.execute("INSERT INTO documents (text) VALUES (?)", (" ".join(terms),))


class Tantivy:
    """tantivy in memory, with its own BM25 (k1 1.2, b 0.75)."""

    def __init__(self, documents: Sequence[Terms]) -> None:
        import tantivy

        self._tantivy = tantivy
        builder = tantivy.SchemaBuilder()
        builder.add_text_field("text", stored=False, tokenizer_name="whitespace")
        builder.add_integer_field("number", fast=True)
        self._schema = builder.build()
        self._index = tantivy.Index(self._schema)
        self._writer = self._index.writer(num_threads=1)
        self._count = 0
        for terms in documents:
            self._write(terms)
        self._commit()

    def _write(self, terms: Terms) -> None:
        self._writer.add_document(self._tantivy.Document(text=" ".join(terms), number=self._count))
        self._count += 1

    def _commit(self) -> None:
        self._writer.commit()
        self._index.reload()
        self._searcher = self._index.searcher()

    def top(self, terms: Terms, k: int) -> Sequence[int]:
        """Ask for any of the terms."""
        should = self._tantivy.Occur.Should
        query = self._tantivy.Query.boolean_query(
            [(should, self._tantivy.Query.term_query(self._schema, "text", term)) for term in terms]
        )
        return self._searcher.fast_field_values("number", [address for _, address in self._searcher.search(query, k).hits])

    def add(self, terms: Terms) -> None:
        """Add a document and commit, without which it is not found."""
        self._write(terms)
        self._commit()


Make = Callable[[Sequence[Terms]], Engine]
