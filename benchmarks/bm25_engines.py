"""Every engine that espeer's index could have been: import, first question, questions, additions, at two sizes.

    python -m benchmarks.bm25_engines [--data DIR] [--quick] [--json FILE]

Each runs in a process of its own and is given the same terms, espeer's index the texts. Two of them are espeer's own scoring
made with scipy and with numba (:mod:`benchmarks.alternatives`). Import times are those of a fresh Python that has loaded numpy.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from benchmarks import alternatives, data, report, rivals, timing
from benchmarks.terms import DEFAULT, TOKENIZERS
from benchmarks.timing import MICRO, MILLI
from espeer.bm25 import BM25Index

K = 5
_SECONDS = 5.0  # how long one kind of call is repeated, at most
_IMPORTS = 3


class Espeer:
    """espeer's index. It takes texts: what it is asked and given are terms of texts that are split again."""

    def __init__(self, documents: Sequence[rivals.Terms]) -> None:
        self._index = BM25Index(k1=rivals.K1, b=rivals.B, tokenizer=str.split)
        self._count = 0
        for terms in documents:
            self.add(terms)

    def top(self, terms: rivals.Terms, k: int) -> Sequence[int]:
        """Return the best documents."""
        return [int(key) for key, _ in self._index.top_k(" ".join(terms), k)]

    def add(self, terms: rivals.Terms) -> None:
        """Add a document."""
        self._index.add(str(self._count), " ".join(terms))
        self._count += 1


@dataclass(frozen=True, slots=True)
class Kind:
    """An engine.

    :ivar modules: what it needs to be installed.
    :ivar imported: the statement that loads it.
    """

    make: rivals.Make
    imported: str
    modules: tuple[str, ...] = ()


_BM25S_ALONE = "import sys; sys.modules['numba'] = None; import bm25s"  # it would load numba wherever it is installed
KINDS = {
    "espeer": Kind(Espeer, "import espeer.bm25"),
    "rank_bm25": Kind(rivals.RankBM25, "import rank_bm25", ("rank_bm25",)),
    "bm25s, numpy": Kind(rivals.BM25S, _BM25S_ALONE, ("bm25s",)),
    "bm25s, numba": Kind(lambda documents: rivals.BM25S(documents, "numba"), "import bm25s, numba", ("bm25s", "numba")),
    "SQLite FTS5": Kind(rivals.FTS5, "import sqlite3"),
    "tantivy": Kind(rivals.Tantivy, "import tantivy", ("tantivy",)),
    "espeer's scoring, scipy CSC": Kind(alternatives.SparseIndex, "import scipy.sparse", ("scipy",)),
    "espeer's scoring, numba kernel": Kind(alternatives.KernelIndex, "import numba", ("numba",)),
}


@dataclass(frozen=True, slots=True)
class Row:
    """What one engine took at one size, in seconds.

    :ivar first: the first question, with all that is made or compiled for it.
    :ivar query: the median of one question.
    :ivar after: the median of one question just after a document was added.
    :ivar add: the median of adding a document so that it is found.
    :ivar same: the share of questions whose best document is espeer's.
    """

    engine: str
    documents: int
    imported: float
    made: float
    first: float
    query: float
    after: float
    add: float
    same: float


def import_seconds(statement: str) -> float:
    """Return the least time of a few that a fresh Python takes for an import, numpy being there."""
    code = f"import time, numpy; started = time.perf_counter(); {statement}; print(time.perf_counter() - started)"
    return min(
        float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout) for _ in range(_IMPORTS)
    )


def measured(
    name: str, folder: Path | None, *, documents: int, copies: int, queries: int, expected: Sequence[int]
) -> tuple[Row, list[int]]:
    """Measure one engine in this process; return it with the best document of each question.

    :param expected: the best documents as espeer sees them, whichever copy; none if this is espeer.
    """
    tokenize = TOKENIZERS[DEFAULT]
    texts = data.corpus(folder).first(documents)
    terms = [tokenize(text) for text in (texts.repeated(copies) if copies > 1 else texts.documents)]
    asked = [tokenize(query) for query in timing.shortened(texts.queries, queries)]
    fresh = [tokenize(text) for text in texts.fresh]
    made, engine = timing.once(lambda: KINDS[name].make(terms))
    first, _ = timing.once(lambda: engine.top(asked[0], K))
    query = timing.each(lambda number: engine.top(asked[number], K), len(asked), seconds=_SECONDS)
    best = [int(engine.top(one, K)[0]) % documents for one in asked[: len(query.seconds)]]
    adding, after = [], []
    for number in range(min(len(asked), len(fresh))):
        adding.append(timing.once(partial(engine.add, fresh[number]))[0])
        after.append(timing.once(partial(engine.top, asked[number], K))[0])
        if sum(adding) + sum(after) > _SECONDS:
            break
    same = sum(one == other for one, other in zip(best, expected, strict=False)) / len(best) if expected else 1.0
    times = (made, first, query.p50, timing.Times(tuple(after)).p50, timing.Times(tuple(adding)).p50)
    return Row(name, len(terms), import_seconds(KINDS[name].imported), *times, same), best


def shown(rows: Sequence[Row]) -> str:
    """Return the rows as a table."""
    head = ("engine", "documents", "import", "made", "first query", "query p50", "query after add", "add p50", "same best")
    return report.table(
        head,
        [
            [
                row.engine,
                f"{row.documents:,}",
                f"{report.number(row.imported * MILLI)} ms",
                f"{report.number(row.made)} s",
                f"{report.number(row.first * MILLI)} ms",
                f"{report.number(row.query * MICRO)} µs",
                f"{report.number(row.after * MICRO)} µs",
                f"{report.number(row.add * MICRO)} µs",
                f"{row.same:.0%}",
            ]
            for row in rows
        ],
    )


def main() -> int:
    """Measure each engine at both sizes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    data.add_option(parser)
    parser.add_argument("--quick", action="store_true", help="few documents: shows that it works")
    parser.add_argument("--json", metavar="FILE", help="write the values here; - for the standard output, as the last line")
    options = parser.parse_args()
    documents, copies, queries = (2000, 2, 30) if options.quick else (data.DOCUMENTS, 10, 200)
    source = data.corpus(options.data).source
    machine = report.machine()
    print(f"{report.described(machine)}\non {source}; {DEFAULT}", flush=True)
    rows = []
    for times in (1, copies):
        expected: list[int] = []
        for name, kind in KINDS.items():
            if hint := rivals.missing(*kind.modules):
                print(f"{name}: left out, needs: {hint}")
                continue
            row, best = timing.in_own_process(
                measured, name, options.data, documents=documents, copies=times, queries=queries, expected=expected
            )
            expected = expected or best
            rows.append(row)
            print(f"{name}, {row.documents:,} documents: measured", file=sys.stderr, flush=True)
    print(f"\n{shown(rows)}\n", flush=True)
    if options.json:
        report.write_json({"machine": machine, "data": source, "rows": [asdict(row) for row in rows]}, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
