"""How well texts are found with other tokenizers and other BM25 parameters, on SciFact and Cranfield.

    python -m benchmarks.tokenizers --data DIR

Scores are exact BM25, by :class:`espeer.bm25.BM25Index`. Every value is compared with espeer's default, query by query.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from benchmarks import data, quality, report
from espeer.bm25 import BM25Index
from espeer.sim.experiments import retrieval
from espeer.tokens import STOP_WORDS, Tokenizer

Tokenize = Callable[[str], list[str]]

DEPTH_NDCG = 10
DEPTH_RECALL = 5
COLLECTIONS = (("scifact", "test"), ("cranfield", None), ("scifact", "train"))
"""Name and split. SciFact's training queries are the largest set; its test queries are the ones others publish."""

_NUMBER = re.compile(r"(?<!\w)(\d+(?:[.,]\d+)+)(?!\w)")


@dataclass(frozen=True, slots=True)
class Choice:
    """A way to index and to ask.

    :ivar title: whether a document is its title and its text, or its text alone.
    """

    name: str
    tokenize: Tokenize
    k1: float = 1.5
    b: float = 0.75
    title: bool = True


@dataclass(frozen=True, slots=True)
class Result:
    """What a choice reached, by query in the collection's order."""

    choice: Choice
    ndcg: tuple[float, ...]
    recall: tuple[float, ...]


def numbers_whole(tokenize: Tokenize) -> Tokenize:
    """Return a tokenizer that leaves numbers with separators whole, such as "3.5" and "1,200"."""

    def tokenized(text: str) -> list[str]:
        parts = _NUMBER.split(text)
        return [term for place, part in enumerate(parts) for term in ([part] if place % 2 else tokenize(part))]

    return tokenized


def choices() -> list[Choice]:
    """Return what is compared, espeer's default first."""
    default = Tokenizer()
    tried = [Choice("stop words, english (default)", default)]
    tried.extend(
        Choice(f"{words}, {language or 'no stemming'}", Tokenizer(language, stop_words))
        for words, stop_words in (("stop words", STOP_WORDS), ("all words", frozenset[str]()))
        for language in (None, "porter", "english")
        if (stop_words, language) != (default.stop_words, default.language)
    )
    tried.append(Choice("default, numbers whole", numbers_whole(default)))
    tried.append(Choice("default, text without title", default, title=False))
    tried.extend(Choice(f"default, k1 {k1}, b {b}", default, k1, b) for k1, b in ((1.2, 0.75), (0.9, 0.4)))
    return tried


def measured(choice: Choice, collection: retrieval.Collection) -> Result:
    """Index the documents, ask all queries."""
    index = BM25Index(k1=choice.k1, b=choice.b, tokenizer=choice.tokenize)
    for key, text in collection.texts.items():
        index.add(key, f"{collection.titles[key]} {text}" if choice.title else text)
    depth = max(DEPTH_NDCG, DEPTH_RECALL)
    rankings = {query: [key for key, _ in index.top_k(text, depth)] for query, text in collection.queries.items()}
    return Result(
        choice,
        tuple(retrieval.ndcg(ranking, collection.gains[query], DEPTH_NDCG) for query, ranking in rankings.items()),
        tuple(retrieval.recall(ranking, collection.gains[query], DEPTH_RECALL) for query, ranking in rankings.items()),
    )


def summary(results: list[Result]) -> list[dict[str, Any]]:
    """Return means and differences to the first result."""
    default = results[0]
    return [
        {
            "choice": one.choice.name,
            "ndcg": sum(one.ndcg) / len(one.ndcg),
            "ndcg_difference": _interval(quality.difference(one.ndcg, default.ndcg)),
            "recall": sum(one.recall) / len(one.recall),
            "recall_difference": _interval(quality.difference(one.recall, default.recall)),
        }
        for one in results
    ]


def shown(rows: Iterable[dict[str, Any]]) -> str:
    """Return the rows as a table, the best value of each column in bold."""
    rows = list(rows)
    best = {measure: max(row[measure] for row in rows) for measure in ("ndcg", "recall")}
    cells = []
    for row in rows:
        cells.append([row["choice"]])
        for measure in ("ndcg", "recall"):
            value = f"{row[measure]:.4f}"
            mean, low, high = row[f"{measure}_difference"]
            same = row is rows[0]
            cells[-1] += [f"**{value}**" if row[measure] == best[measure] else value]
            cells[-1] += ["" if same else f"{mean:+.4f} ({low:+.4f} to {high:+.4f})"]
    head = (
        "tokenizer",
        f"nDCG@{DEPTH_NDCG}",
        "difference to the default",
        f"recall@{DEPTH_RECALL}",
        "difference to the default",
    )
    return report.table(head, cells)


def main() -> int:
    """Print a table for each collection."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    data.add_option(parser)
    parser.add_argument("--json", metavar="FILE", help="write the values here; - for the standard output, as the last line")
    options = parser.parse_args()
    if options.data is None:
        parser.error("relevance judgements cannot be made up: --data DIR or ESPEER_DATA is needed")
    found: dict[str, Any] = {"machine": report.machine(), "collections": {}}
    for name, split in COLLECTIONS:
        collection = retrieval.load(options.data, name, split)
        title = f"{name}, {split} queries" if split else name
        rows = summary([measured(choice, collection) for choice in choices()])
        found["collections"][title] = {"documents": len(collection.texts), "queries": len(collection.queries), "rows": rows}
        print(f"\n{title}: {len(collection.texts)} documents, {len(collection.queries)} queries\n\n{shown(rows)}", flush=True)
    if options.json:
        report.write_json(found, options.json)
    return 0


def _interval(one: quality.Difference) -> tuple[float, float, float]:
    return one.mean, one.low, one.high


if __name__ == "__main__":
    sys.exit(main())
