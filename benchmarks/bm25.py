"""espeer's BM25 index beside rank_bm25 and bm25s: each aim and what is measured.

    python -m benchmarks.bm25 [--data DIR] [--quick] [--json FILE]

rank_bm25 and bm25s are given terms; espeer's index is given texts, so its times include splitting them. All get the terms of
the same tokenizer. Times are of one call at a time, in turns of ten calls each; p50 is the median. Nothing is asserted.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import data, memory, pairs, report, rivals, timing
from benchmarks.report import Figure
from benchmarks.terms import DEFAULT, TOKENIZERS
from benchmarks.timing import MICRO, MILLI
from espeer.bm25 import BM25Index
from espeer.tokens import Tokenizer

K = 5
FLAT = 1.5
"""What costs at most so many times as much in the large corpus as in the small one does not grow with the corpus."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured.

    :ivar documents: in the small corpus.
    :ivar copies: of the small corpus in the large one.
    :ivar queries: asked of espeer and of bm25s.
    :ivar slow_queries: asked of rank_bm25.
    :ivar added: documents added and removed at each size.
    :ivar in_memory: documents of the memory measurement.
    :ivar snapshot: documents of the snapshot.
    :ivar numba: whether bm25s is asked with numba as well, which compiles for 8 s.
    """

    documents: int
    copies: int
    queries: int
    slow_queries: int
    added: int
    in_memory: int
    snapshot: int
    numba: bool


FULL = Size(
    documents=data.DOCUMENTS,
    copies=10,
    queries=300,
    slow_queries=40,
    added=1000,
    in_memory=75_000,
    snapshot=100_000,
    numba=True,
)
QUICK = Size(documents=2000, copies=2, queries=30, slow_queries=10, added=200, in_memory=5000, snapshot=5000, numba=False)


@dataclass(frozen=True, slots=True)
class Corpora:
    """The small and the large corpus with what is asked of them and added to them."""

    small: Sequence[str]
    large: Sequence[str]
    queries: Sequence[str]
    fresh: Sequence[str]

    def by_size(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the small and the large corpus."""
        return self.small, self.large


def indexed(texts: Sequence[str], tokenizer: Tokenizer) -> BM25Index:
    """Return espeer's index of texts; keys are their numbers."""
    index = BM25Index(k1=rivals.K1, b=rivals.B, tokenizer=tokenizer)
    for number, text in enumerate(texts):
        index.add(str(number), text)
    return index


# -- questions


def against_rank_bm25(corpora: Corpora, size: Size) -> list[Figure]:
    """Query times beside rank_bm25's at the small size, and how far the scores are from its."""
    if hint := rivals.missing("rank_bm25"):
        return _skipped("rank_bm25", hint)
    figures = []
    for name, tokenizer in TOKENIZERS.items():
        index = indexed(corpora.small, tokenizer)
        rival = rivals.RankBM25([tokenizer(text) for text in corpora.small])
        asked = timing.shortened(corpora.queries, size.slow_queries)
        terms = [tokenizer(query) for query in asked]
        times = timing.interleaved(_asking(index, rival, asked, terms), len(asked), warm=2)
        where = f"query, {len(index):,} documents, {name}"
        figures += [
            Figure(f"{where}: rank_bm25 p50", times["rival"].p50 * MILLI, "ms"),
            Figure(f"{where}: espeer p50", times["espeer"].p50 * MICRO, "µs", note=f"p99 {_micro(times['espeer'].p99)}"),
            Figure(f"{where}: rank_bm25 / espeer", times["rival"].p50 / times["espeer"].p50, "x", at_least=150),
            Figure(f"{where}: largest difference of a score", _apart(index, rival, asked, terms), "", at_most=1e-9),
        ]
    return figures


def against_bm25s(corpora: Corpora, size: Size) -> list[Figure]:
    """Query times beside bm25s's at both sizes, its index ready; and espeer's while it takes new documents."""
    if hint := rivals.missing("bm25s"):
        return _skipped("bm25s", hint)
    hint = rivals.missing("numba") if size.numba else "a run without --quick"
    figures = _skipped("bm25s with numba", hint) if hint else []
    for texts in corpora.by_size():
        for name, tokenizer in TOKENIZERS.items():
            figures += _beside_bm25s(texts, name, tokenizer, corpora, size, numba=not hint)
    return figures


def _beside_bm25s(
    texts: Sequence[str], name: str, tokenizer: Tokenizer, corpora: Corpora, size: Size, *, numba: bool
) -> list[Figure]:
    index = indexed(texts, tokenizer)
    documents = [tokenizer(text) for text in texts]
    seconds, plain = timing.once(lambda: rivals.BM25S(documents))
    engines = {"numpy": plain, "numba": plain.with_backend("numba")} if numba else {"numpy": plain}
    asked = timing.shortened(corpora.queries, size.queries)
    terms = [tokenizer(query) for query in asked]
    calls: dict[str, Callable[[int], object]] = {
        "espeer": lambda number: index.top_k(asked[number], K),
        "splitting": lambda number: tokenizer(asked[number]),
    }
    for backend, engine in engines.items():
        calls[backend] = partial(_ask, engine, terms)
    times = timing.interleaved(calls, len(asked))
    adding, after = _while_adding(index, asked, corpora.fresh)
    where = f"query, {len(texts):,} documents, {name}"
    note = f"p99 {_micro(times['espeer'].p99)}; splitting the query alone {_micro(times['splitting'].p50)}"
    figures = [
        Figure(f"{where}: espeer p50", times["espeer"].p50 * MICRO, "µs", note=note),
        Figure(f"{where}: espeer p50 just after an add", after.p50 * MICRO, "µs", note=f"the add itself {_micro(adding.p50)}"),
    ]
    for backend in engines:
        theirs = times[backend].p50
        figures += [
            Figure(f"{where}: bm25s {backend} p50", theirs * MICRO, "µs", note=f"p99 {_micro(times[backend].p99)}"),
            Figure(f"{where}: bm25s {backend} / espeer", theirs / times["espeer"].p50, "x", at_least=1),
            Figure(f"{where}: bm25s {backend} / espeer just after an add", theirs / after.p50, "x", at_least=1),
        ]
    figures.append(
        Figure(f"add one, {len(texts):,} documents, {name}: bm25s (a new index)", seconds * MILLI, "ms", note="once")
    )
    return figures


def _while_adding(index: BM25Index, asked: Sequence[str], fresh: Sequence[str]) -> tuple[timing.Times, timing.Times]:
    adding, asking = [], []
    for number, query in enumerate(asked):
        adding.append(timing.once(partial(index.add, f"fresh{number}", fresh[number % len(fresh)]))[0])
        asking.append(timing.once(partial(index.top_k, query, K))[0])
    for number in range(len(asked)):
        index.remove(f"fresh{number}")
    return timing.Times(tuple(adding)), timing.Times(tuple(asking))


def _asking(
    index: BM25Index, rival: rivals.Engine, asked: Sequence[str], terms: Sequence[rivals.Terms]
) -> dict[str, Callable[[int], object]]:
    return {
        "rival": partial(_ask, rival, terms),
        "espeer": lambda number: index.top_k(asked[number], K),
    }


def _ask(engine: rivals.Engine, terms: Sequence[rivals.Terms], number: int) -> Sequence[int]:
    return engine.top(terms[number], K)


def _apart(index: BM25Index, rival: rivals.RankBM25, asked: Sequence[str], terms: Sequence[rivals.Terms]) -> float:
    """Return the largest difference between two scores of a document for a query."""
    largest = 0.0
    for query, query_terms in zip(asked, terms, strict=True):
        theirs = rival.okapi.get_scores(query_terms)
        ours = np.zeros(len(theirs))
        for key, score in index.scores(query).items():
            ours[int(key)] = score
        largest = max(largest, float(np.abs(ours - theirs).max()))
    return largest


# -- changes


def changes(corpora: Corpora, size: Size) -> list[Figure]:
    """What it takes to add and to remove a document, with nothing else there, with the small and with the large corpus."""
    tokenizer = TOKENIZERS[DEFAULT]
    indexes = {len(texts): indexed(texts, tokenizer) for texts in ((), *corpora.by_size())}
    fresh = corpora.fresh[: size.added]
    added = timing.interleaved(
        {str(held): _adding(index, fresh) for held, index in indexes.items()}, len(fresh), block=50, warm=0
    )
    removed = timing.interleaved({str(held): _removing(index) for held, index in indexes.items()}, len(fresh), block=50, warm=0)
    figures = []
    for what, times in (("add", added), ("remove", removed)):
        for held in indexes:
            one = times[str(held)]
            note = f"p99 {_micro(one.p99)}, mean {_micro(one.mean)}, longest {_micro(one.longest)}"
            aim = 100 if what == "add" else None
            figures.append(Figure(f"{what}, on top of {held:,} documents: p50", one.p50 * MICRO, "µs", at_most=aim, note=note))
        small, large = (times[str(len(texts))].p50 for texts in corpora.by_size())
        figures.append(Figure(f"{what}: p50 in the large corpus / in the small one", large / small, "x", at_most=FLAT))
    return figures


def rebuilding(corpora: Corpora) -> list[Figure]:
    """What it takes rank_bm25 to have one more document: a new index. Of bm25s, see :func:`against_bm25s`."""
    if rivals.missing("rank_bm25"):
        return []
    tokenizer = TOKENIZERS[DEFAULT]
    figures = []
    for texts in corpora.by_size():
        seconds, _ = timing.once(partial(rivals.RankBM25, [tokenizer(text) for text in texts]))
        what = f"add one, {len(texts):,} documents, {DEFAULT}: rank_bm25 (a new index)"
        figures.append(Figure(what, seconds * MILLI, "ms", note="once"))
    return figures


def _adding(index: BM25Index, fresh: Sequence[str]) -> Callable[[int], object]:
    return lambda number: index.add(f"fresh{number}", fresh[number])


def _removing(index: BM25Index) -> Callable[[int], object]:
    return lambda number: index.remove(f"fresh{number}")


# -- pairs, memory, start


def all_pairs(folder: Path | None, size: Size) -> list[Figure]:
    """All pairs that are alike, among the small corpus."""
    ours = timing.in_own_process(pairs.by_index, folder, size.documents)
    where = f"all pairs at least {pairs.AT_LEAST} alike, {size.documents:,} documents"
    figures = [Figure(f"{where}: espeer", ours.seconds, "s", note=f"{ours.pairs:,} pairs")]
    if ours.peak is not None:
        figures.append(Figure(f"{where}: espeer, peak memory of the process", ours.peak / 1e6, "MB", at_most=1000))
    if hint := rivals.missing("rank_bm25"):
        figures += _skipped("rank_bm25", hint)
    else:
        theirs = timing.in_own_process(pairs.by_rank_bm25, folder, size.documents, size.slow_queries)
        note = f"of {size.slow_queries} documents, times {size.documents / size.slow_queries:g}"
        figures += [
            Figure(f"{where}: rank_bm25", theirs.seconds, "s", note=note),
            Figure(f"{where}: rank_bm25 / espeer", theirs.seconds / ours.seconds, "x", at_least=100),
        ]
    if hint := rivals.missing("scipy"):
        return figures + _skipped("scipy", hint)
    product = timing.in_own_process(pairs.by_scipy, folder, size.documents)
    note = f"{product.pairs:,} pairs" + ("" if product.peak is None else f", peak {report.number(product.peak / 1e6)} MB")
    return [*figures, Figure(f"{where}: blocks of a scipy.sparse product", product.seconds, "s", note=note)]


def held_in_memory(corpora: Corpora, size: Size) -> list[Figure]:
    """The memory that a document takes beside its text."""
    if not timing.memory_is_shown():
        return _skipped("memory", "a system with /proc")
    figures = []
    for name in TOKENIZERS:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "words"
            memory.write_words(corpora.small, file)
            taken = timing.in_own_process(memory.bytes_per_document, file, size.in_memory, name)
        what = f"memory of a document of {memory.WORDS} words beside its text, {size.in_memory:,} documents, {name}"
        figures.append(Figure(what, taken / 1e3, "KB", at_most=1.5, note="one word of each occurs nowhere else"))
    return figures


def snapshot_load(corpora: Corpora, size: Size) -> list[Figure]:
    """What it takes to have an index back at the start."""
    with tempfile.TemporaryDirectory() as folder:
        words, file = Path(folder) / "words", Path(folder) / "snapshot"
        memory.write_words(corpora.small, words)
        timing.in_own_process(memory.save_snapshot, words, file, size.snapshot)
        start = timing.in_own_process(memory.load_snapshot, file)
    where = f"snapshot of {size.snapshot:,} documents of {memory.WORDS} words"
    note = f"file of {report.number(start.size / 1e6)} MB, in the system's cache; first query {_micro(start.first)}"
    return [Figure(f"{where}: load", start.load, "s", at_most=0.5, note=note)]


# -- the whole


def _skipped(what: str, hint: str) -> list[Figure]:
    print(f"{what}: left out, needs: {hint}")
    return []


def _micro(seconds: float) -> str:
    return f"{report.number(seconds * MICRO)} µs"


def measure(folder: Path | None, size: Size) -> tuple[str, list[Figure]]:
    """Measure everything; return where the texts are from, and the figures."""
    texts = data.corpus(folder).first(size.documents)
    corpora = Corpora(texts.documents, texts.repeated(size.copies), texts.queries, texts.fresh)
    print(f"on {texts.source}", flush=True)
    steps: dict[str, Callable[[], list[Figure]]] = {
        "questions, rank_bm25": lambda: against_rank_bm25(corpora, size),
        "questions, bm25s": lambda: against_bm25s(corpora, size),
        "changes": lambda: changes(corpora, size),
        "rebuilding": lambda: rebuilding(corpora),
        "all pairs": lambda: all_pairs(folder, size),
        "memory": lambda: held_in_memory(corpora, size),
        "snapshot": lambda: snapshot_load(corpora, size),
    }
    figures = []
    for name, step in steps.items():
        seconds, made = timing.once(step)
        figures += made
        print(f"{name}: measured in {seconds:.0f} s", file=sys.stderr, flush=True)
    return texts.source, figures


def main() -> int:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    data.add_option(parser)
    parser.add_argument("--quick", action="store_true", help="little of everything, in less than 20 s: shows that it works")
    parser.add_argument("--json", metavar="FILE", help="write the figures here; - for the standard output, as the last line")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    machine = report.machine()
    print(report.described(machine))
    source, figures = measure(options.data, size)
    print(f"\n{report.figures_table(figures)}\n", flush=True)
    missed = [one for one in figures if one.reached is False]
    print(f"{sum(one.reached is True for one in figures)} aims reached, {len(missed)} missed", flush=True)
    if options.json:
        values = [one.as_json() for one in figures]
        report.write_json({"machine": machine, "data": source, "size": asdict(size), "figures": values}, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
