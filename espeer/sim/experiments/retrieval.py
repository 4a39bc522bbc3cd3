"""Collections of documents and queries with judgements of which answers which, and how good a ranking is.

Collections are read from ``retrieval_NAME.jsonl.gz`` (rows of the types doc, query and qrel), or made of questions with what is
known about each. None of the files is part of espeer: SciFact (Wadden et al. 2020, arXiv 2004.14974) is at
github.com/allenai/scifact, Cranfield (Cleverdon 1967) at several places.
"""

import gzip
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espeer.errors import InputError
from espeer.sim.experiments.questions import Item


@dataclass(frozen=True, slots=True)
class Collection:
    """Documents, queries, and who judged which document to answer which query.

    :ivar titles: by document; may be empty.
    :ivar texts: by document.
    :ivar queries: query -> its text.
    :ivar gains: query -> document -> gain, above 0.
    """

    name: str
    titles: dict[str, str]
    texts: dict[str, str]
    queries: dict[str, str]
    gains: dict[str, dict[str, float]]


def load(folder: Path | None, name: str, split: str | None = None) -> Collection:
    """Read a collection with relevance judgements.

    :param split: only queries of this split.
    :raises InputError: it is not there.
    """
    titles: dict[str, str] = {}
    texts: dict[str, str] = {}
    queries: dict[str, str] = {}
    gains: dict[str, dict[str, float]] = defaultdict(dict)
    file = folder / f"retrieval_{name}.jsonl.gz" if folder else None
    if file is None or not file.exists():
        raise InputError(f"{name}: there is no retrieval_{name}.jsonl.gz; give its folder with --data")
    for row in rows(file):
        if row["type"] == "doc":
            titles[row["id"]], texts[row["id"]] = row["title"], row["text"]
        elif row["type"] == "query" and (split is None or row["split"] == split):
            queries[row["id"]] = row["text"]
        elif row["type"] == "qrel" and row["score"] > 0:
            gains[row["query"]][row["doc"]] = float(row["score"])
    judged = {query: text for query, text in queries.items() if query in gains}
    return Collection(name, titles, texts, judged, {query: gains[query] for query in judged})


def of_items(name: str, items: Sequence[Item], asked: Sequence[Item]) -> Collection:
    """Make a collection of questions: the documents are what is known about each, and a question's own is what is looked for.

    :param items: whose texts are the documents; those without one are left out, and equal texts are one document.
    :param asked: the queries, from among them.
    """
    places: dict[str, str] = {}
    for item in items:
        if item.support:
            places.setdefault(item.support, item.id)
    queries = {item.id: item.question for item in asked if item.support}
    gains = {item.id: {places[item.support]: 1.0} for item in asked if item.support}
    texts = {id_: text for text, id_ in places.items()}
    return Collection(name, dict.fromkeys(texts, ""), texts, queries, gains)


def rows(file: Path) -> Iterator[dict[str, Any]]:
    """Read the rows of a compressed file, one JSON object a line."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def ndcg(ranking: Sequence[str], gains: Mapping[str, float], depth: int = 10) -> float:
    """Return the normalised discounted cumulative gain as trec_eval's ndcg_cut: the sum of gain / log2(rank + 1).

    :param ranking: documents, best first.
    :param gains: document -> gain; of one that is not there, 0.
    """
    best = _discounted(sorted(gains.values(), reverse=True)[:depth])
    return _discounted([gains.get(document, 0.0) for document in ranking[:depth]]) / best if best else 0.0


def recall(ranking: Sequence[str], gains: Mapping[str, float], depth: int = 5) -> float:
    """Return the share of the documents with a gain that is among the first ``depth``."""
    wanted = {document for document, gain in gains.items() if gain > 0}
    return len(wanted.intersection(ranking[:depth])) / len(wanted) if wanted else 0.0


def _discounted(gains: Sequence[float]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))
