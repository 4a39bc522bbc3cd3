"""What an experiment with recall recalls from: documents, the queries that are asked of them, and who answers which (pure).

From collections with relevance judgements, and from questions with what is known about each. A corpus is all documents that
answer one of the queries, and others that another seed draws others of.
"""

import random
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from espeer.errors import InputError
from espeer.sim.experiments import questions, retrieval
from espeer.sim.experiments.questions import INCIDENTS, SCIQ, Item
from espeer.text import MAX_INPUT, clean

MOST_CHARACTERS: Final = 1000
"""Of a longer document only so much is taken, by all that are compared: experiences are short."""
_PASSAGE: Final = 400
"""Of SciQ those questions whose passage is not longer: about what an experience has."""
_REST: Final = 40
_TEST: Final = "test"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """What corpora are drawn from.

    :ivar texts: by document; no two are equal.
    :ivar queries: those that are asked, with every seed.
    :ivar gains: query -> document -> gain, above 0.
    :ivar items: query -> the question with its choices, where it is one.
    :ivar rest: some such questions that are not asked: to find out with how a model is best asked.
    """

    name: str
    texts: Mapping[str, str]
    queries: Mapping[str, str]
    gains: Mapping[str, Mapping[str, float]]
    items: Mapping[str, Item]
    rest: Sequence[Item]


@dataclass(frozen=True, slots=True)
class Corpus:
    """A source, and the documents that are recalled from under a seed."""

    source: Source
    seed: int
    texts: Mapping[str, str]


def load(folder: Path | None, name: str, queries: int) -> Source:
    """Read a source: ``cranfield``, ``scifact`` (its test queries), ``sciq`` or ``incidents``.

    :param queries: ask so many, always the same.
    :raises InputError: the data is not there.
    """
    if name in {INCIDENTS, SCIQ}:
        every = questions.distinct(folder, name)
        items = [item for item in every if 0 < len(item.support) <= _PASSAGE or (name == INCIDENTS and item.support)]
        order = questions.some(items, None)
        asked = order[:queries]
        found = retrieval.of_items(name, items, asked)
        return _source(found, found.queries, {item.id: item for item in asked}, order[queries : queries + _REST])
    if folder is None:
        raise InputError(f"{name}: give the folder of retrieval_{name}.jsonl.gz with --data, or ask for {INCIDENTS}")
    found = retrieval.load(folder, name, _TEST if name == "scifact" else None)
    return _source(found, {query: found.queries[query] for query in _some(found.queries, queries, 0)}, {}, ())


def drawn(source: Source, others: int, seed: int) -> Corpus:
    """Draw a corpus: the documents that answer a query, and ``others`` of the rest by the seed, fewer where there are fewer."""
    judged = {document for gains in source.gains.values() for document in gains}
    kept = judged.union(_some([document for document in source.texts if document not in judged], others, seed))
    return Corpus(source, seed, {document: text for document, text in source.texts.items() if document in kept})


def asked(source: Source, most: int, seed: int) -> list[Item]:
    """Draw so many of the queries that are questions with choices."""
    return [source.items[query] for query in _some(source.items, most, seed)]


def _source(found: retrieval.Collection, queries: Mapping[str, str], items: Mapping[str, Item], rest: Sequence[Item]) -> Source:
    first: dict[str, str] = {}
    same: dict[str, str] = {}
    for document, text in found.texts.items():
        title = found.titles.get(document, "")
        written = _written(text if text.startswith(title) else f"{title}. {text}")
        if written:
            same[document] = first.setdefault(written, document)
    gains: dict[str, dict[str, float]] = {}
    for query in queries:
        held = {same[document]: gain for document, gain in found.gains[query].items() if document in same}
        if held:
            gains[query] = held
    texts = {document: text for text, document in first.items()}
    return Source(found.name, texts, {query: queries[query] for query in gains}, gains, items, rest)


def _written(text: str) -> str:
    """Return a document as a record takes it: clean, and cut after a word."""
    short = textwrap.shorten(text, MOST_CHARACTERS, placeholder="")
    return clean(short, limit=MAX_INPUT, what="a document") if short else ""


def _some(values: Iterable[T], most: int, seed: int) -> Sequence[T]:
    order = list(values)
    random.Random(seed).shuffle(order)  # noqa: S311 - nothing secret
    return order[:most]
