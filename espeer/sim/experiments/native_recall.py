"""Recall by text and by the model's own vectors, over the same documents: part of the experiment with LLM-native storage."""

import base64
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import trio

from espeer.llm.embedding import Embedder
from espeer.sim.experiments import vectors
from espeer.sim.experiments.corpora import Corpus
from espeer.sim.experiments.journal import digest
from espeer.sim.experiments.pupil import TYPE, replica_of
from espeer.sim.experiments.vectors import Vectors
from espeer.sim.experiments.work import Work
from espeer.store import Store

TEXT: Final = "text"
VECTOR: Final = "vector"
CENTRED: Final = "centred"
INT8: Final = "int8"
HYBRID: Final = "hybrid"
WAYS: Final[Mapping[str, str]] = {
    TEXT: "text, BM25",
    VECTOR: "embedding",
    CENTRED: "embedding, centred",
    INT8: "embedding, centred, int8",
    HYBRID: "BM25 and embedding, fused",
}
"""The ways to recall, and what they are called."""
DEPTH: Final = 100
"""So many of each ranking are fused."""
SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Embedded:
    """Texts as vectors, and the milliseconds that each took."""

    vectors: Vectors
    ms: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Searched:
    """What was recalled from a corpus.

    :ivar rankings: way -> query -> documents, best first.
    :ivar bm25_ms, nearest_ms: what looking took, by query; without the query's embedding.
    :ivar record_bytes: by document, its signed record as it is kept and sent.
    """

    corpus: Corpus
    rankings: Mapping[str, Mapping[str, list[str]]]
    bm25_ms: tuple[float, ...]
    nearest_ms: tuple[float, ...]
    record_bytes: Mapping[str, int]


class Embedding:
    """Embeds texts, each once, one after the other and beside the event loop."""

    def __init__(self, work: Work, embedder: Embedder) -> None:
        self._work = work
        self._embedder = embedder
        self._one = trio.CapacityLimiter(1)

    async def embed(self, what: str, texts: Sequence[str]) -> Embedded:
        """Embed texts.

        :param what: is shown meanwhile.
        """
        made = await self._work.each(what, texts, self._kept)
        values = [np.frombuffer(base64.b64decode(one["vector"]), np.float32) for one in made]
        return Embedded(np.stack(values), tuple(one["ms"] for one in made))

    async def _kept(self, text: str) -> Any:
        return await self._work.once(f"embed {digest(text)}", partial(self._make, text))

    async def _make(self, text: str) -> dict[str, Any]:
        def timed() -> tuple[Vectors, float]:
            started = time.perf_counter()
            vector = self._embedder.embed(text)
            return vector, (time.perf_counter() - started) * 1000

        vector, ms = await trio.to_thread.run_sync(timed, limiter=self._one)
        return {"vector": base64.b64encode(vector.tobytes()).decode(), "ms": round(ms, 2)}


def search(corpus: Corpus, documents: Vectors, queries: Vectors, *, model: str) -> Searched:
    """Recall for every query in each way.

    Questions point elsewhere than statements do. So documents are centred by their mean, and a query by that of the other
    queries, which a node has been asked before.

    :param documents: the corpus's vectors, in its order.
    :param queries: those of its source, in its order.
    :param model: who is said to have distilled the documents.
    """
    found: dict[str, dict[str, list[str]]] = {way: {} for way in WAYS}
    keys = list(corpus.texts)
    flat = vectors.centred(documents, documents.mean(axis=0))
    small = vectors.in_int8(flat)
    total = queries.sum(axis=0)
    bm25_ms, nearest_ms = [], []
    by_text = {text: document for document, text in corpus.texts.items()}
    with closing(Store.open(Path(":memory:"))) as store:
        replica = replica_of(store, list(corpus.texts.values()), model)
        for (query, text), vector in zip(corpus.source.queries.items(), queries, strict=True):
            started = time.perf_counter()
            replica.recall(text, SHOWN)
            bm25_ms.append((time.perf_counter() - started) * 1000)
            found[TEXT][query] = [by_text[hit.experience.text] for hit in replica.recall(text, DEPTH)]
            started = time.perf_counter()
            asked = vectors.centred(vector, (total - vector) / max(1, len(queries) - 1))
            rows = vectors.nearest(asked, flat, DEPTH)
            nearest_ms.append((time.perf_counter() - started) * 1000)
            found[CENTRED][query] = [keys[row] for row in rows]
            found[VECTOR][query] = [keys[row] for row in vectors.nearest(vector, documents, DEPTH)]
            found[INT8][query] = [keys[row] for row in vectors.nearest(asked, small, DEPTH)]
            found[HYBRID][query] = vectors.fused([found[TEXT][query], found[CENTRED][query]], DEPTH)
        held = {key: store.data(bytes.fromhex(key)) for key in replica.active(TYPE)}
        sizes = {by_text[replica.experience(key).text]: len(row[0]) for key, row in held.items() if row and row[0]}
    return Searched(corpus, found, tuple(bm25_ms), tuple(nearest_ms), sizes)
