"""What the experiment with LLM-native storage came to: figures, tables and plots."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final

from espeer.lifecycle.choice import Method
from espeer.sim.experiments import retrieval
from espeer.sim.experiments.corpora import MOST_CHARACTERS, Source
from espeer.sim.experiments.estimates import Estimate, difference
from espeer.sim.experiments.native_recall import DEPTH, INT8, SHOWN, TEXT, WAYS, Searched
from espeer.sim.experiments.native_states import ANEW, FIRST, KEPT
from espeer.sim.experiments.report import PAIRED, Figure, Plot, Report, Table, line, measured, paired, shown, signed
from espeer.sim.experiments.settings import Native

CUTS: Final = (1, 3, 5, 10)
_TIMES: Final = {ANEW: "text, read anew", FIRST: "KV states, first use", KEPT: "KV states, kept"}
_ANSWERS: Final = {"text": "text, BM25", "states": "KV states, BM25", "vector": "text, embedding"}
_COMPARED: Final = ("states over text", *PAIRED, "embedding over BM25", *PAIRED)
_SLOW, _FAST = 1, 100
"""Links in Mbit/s."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """What an experience takes: tokens, and bytes as text, as a signed record, and as the engine's state."""

    document: str
    tokens: int
    text: int
    record: int
    state: int


@dataclass(frozen=True, slots=True)
class Found:
    """What was recalled from a source, under each seed, and what that took.

    :ivar embed_ms, query_ms: of each experience, and of each query.
    """

    source: Source
    searched: tuple[Searched, ...]
    embed_ms: tuple[float, ...]
    query_ms: tuple[float, ...]
    weighed: tuple[Weighed, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """A question that was answered.

    :ivar way: "plain", "text", "states", or "vector": text that was recalled by embedding.
    """

    source: str
    seed: int
    item: str
    k: int
    way: str
    right: bool


@dataclass(frozen=True, slots=True)
class Timed:
    """Milliseconds to the first token, by way: see :func:`espeer.sim.experiments.native_states.first_token`."""

    source: str
    item: str
    k: int
    ms: Mapping[str, float]


def report(
    settings: Native,
    found: Sequence[Found],
    answered: Sequence[Answered],
    timed: Sequence[Timed],
    *,
    model: str,
    method: Method,
    vector_size: int,
) -> Report:
    """Put it together.

    :param vector_size: how many values a vector has.
    """
    parts = [_recall(one) for one in found]
    asked = [one.source.name for one in found if one.source.items]
    answers = [_answers(settings, name, [one for one in answered if one.source == name]) for name in asked]
    times = [_times(settings, name, [one for one in timed if one.source == name]) for name in asked]
    return Report(
        name=settings.experiment,
        about={
            "model": model,
            "seeds": settings.seeds,
            "queries": settings.queries,
            "other documents": settings.others,
            "questions a seed": settings.questions,
            "asked by": method,
        },
        figures=tuple(
            figure
            for figures in (*(part[0] for part in parts), *(part[0] for part in answers), *(part[0] for part in times))
            for figure in figures
        ),
        tables=(
            Table(
                "What is found",
                ("source", "recalled by", *(f"recall@{cut}" for cut in CUTS), f"nDCG@{SHOWN}", "nDCG over text"),
                tuple(row for _, rows, _ in parts for row in rows),
            ),
            _costs(found),
            Table(
                "Right answers",
                ("source", "k", "no experience", *_ANSWERS.values(), *_COMPARED),
                tuple(row for _, rows in answers for row in rows),
            ),
            Table(
                "Milliseconds to the first token",
                ("source", "k", *_TIMES.values(), "text over kept, times"),
                tuple(row for _, rows, _ in times for row in rows),
            ),
            _bytes(found, vector_size),
            _shipping(settings, found, timed, vector_size),
        ),
        plots=(*(plot for *_, plot in parts), *(plot for *_, plot in times)),
        notes=_notes(settings, vector_size),
    )


def _recall(found: Found) -> tuple[list[Figure], list[tuple[str, ...]], Plot]:
    name = found.source.name
    figures, rows, lines = [], [], []
    text = _values(found, TEXT, lambda ranking, gains: retrieval.ndcg(ranking, gains, SHOWN))
    for way, label in WAYS.items():
        at = [measured("", _values(found, way, _at(cut))).estimate for cut in CUTS]
        outcomes = _values(found, way, lambda ranking, gains: retrieval.ndcg(ranking, gains, SHOWN))
        figure = measured(f"{name}.{way}.ndcg@{SHOWN}", outcomes, better="higher")
        figures.append(figure)
        over = "" if way == TEXT else signed(difference(outcomes, text))
        rows.append((name, label, *(f"{one.value:.3f}" for one in at), shown(figure.estimate), over))
        if way != INT8:  # it would lie on the centred one
            lines.append(line(label, at))
    documents = len(found.searched[0].corpus.texts)
    title = f"{name}: share of the documents sought among the first k, of {documents:,}"
    return figures, rows, Plot(f"native-recall-{name}", title, "k", "recall@k", CUTS, tuple(lines))


def _at(cut: int) -> Callable[[Sequence[str], Mapping[str, float]], float]:
    return lambda ranking, gains: retrieval.recall(ranking, gains, cut)


def _values(found: Found, way: str, rate: Callable[[Sequence[str], Mapping[str, float]], float]) -> dict[str, list[float]]:
    """Rate every query's ranking, under every seed."""
    return {
        query: [round(rate(searched.rankings[way][query], gains), 4) for searched in found.searched]
        for query, gains in found.source.gains.items()
    }


def _answers(settings: Native, name: str, answered: Sequence[Answered]) -> tuple[list[Figure], list[tuple[str, ...]]]:
    plain = measured(f"{name}.plain", _outcomes(answered, "plain", 0), better="higher")
    figures, rows = [plain], []
    for k in settings.ks:
        by = {way: _outcomes(answered, way, k) for way in _ANSWERS}
        made = [measured(f"{name}.{way}.k{k}", outcomes, better="higher") for way, outcomes in by.items()]
        rows.append(
            (
                name,
                str(k),
                shown(plain.estimate),
                *(shown(figure.estimate) for figure in made),
                *paired(by["states"], by["text"]),
                *paired(by["vector"], by["text"]),
            )
        )
        figures += made
    return figures, rows


def _outcomes(answered: Sequence[Answered], way: str, k: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for one in answered:
        if one.way == way and one.k == k:
            found.setdefault(one.item, []).append(float(one.right))
    return found


def _times(settings: Native, name: str, timed: Sequence[Timed]) -> tuple[list[Figure], list[tuple[str, ...]], Plot]:
    figures, rows = [], []
    lines: dict[str, list[Estimate]] = {way: [] for way in _TIMES}
    for k in settings.ks:
        estimates = {}
        for way in _TIMES:
            outcomes = {one.item: [one.ms[way]] for one in timed if one.k == k}
            figure = measured(f"{name}.first_token_ms.{way}.k{k}", outcomes, better="lower")
            figures.append(figure)
            lines[way].append(figure.estimate)
            estimates[way] = figure.estimate
        times = f"{estimates[ANEW].value / estimates[KEPT].value:.1f}"
        rows.append((name, str(k), *(shown(one, digits=0) for one in estimates.values()), times))
    plot = Plot(
        f"native-first-token-{name}",
        f"{name}: time to the first token",
        "experiences in the prompt",
        "milliseconds",
        settings.ks,
        tuple(line(_TIMES[way], lines[way]) for way in _TIMES),
    )
    return figures, rows, plot


def _costs(found: Sequence[Found]) -> Table:
    rows = []
    for one in found:
        bm25 = median(ms for searched in one.searched for ms in searched.bm25_ms)
        near = median(ms for searched in one.searched for ms in searched.nearest_ms)
        asked, made = median(one.query_ms), fmean(one.embed_ms)
        documents = str(len(one.searched[0].corpus.texts))
        rows.append((one.source.name, documents, f"{bm25:.2f}", f"{asked:.1f}", f"{near:.2f}", f"{made:.0f}"))
    columns = (
        "source",
        "documents",
        "BM25 with the texts, ms a query",
        "embedding a query, ms",
        "comparing its vector, ms",
        "embedding an experience, ms",
    )
    return Table("What recall takes", columns, tuple(rows))


def _bytes(found: Sequence[Found], size: int) -> Table:
    rows = []
    for one in found:
        tokens, text, record, state = _means(one.weighed)
        numbers = (tokens, text, record, 4 * size, 2 * size, size + 4, state)
        rows.append((one.source.name, *(f"{number:,.0f}" for number in numbers), f"{state / text:,.0f}"))
    columns = (
        "source",
        "tokens",
        "text",
        "signed record",
        "vector, float32",
        "float16",
        "int8",
        "KV state",
        "KV state over text, times",
    )
    return Table("Bytes of an experience, mean", columns, tuple(rows))


def _means(weighed: Sequence[Weighed]) -> tuple[float, float, float, float]:
    return (
        fmean(one.tokens for one in weighed),
        fmean(one.text for one in weighed),
        fmean(one.record for one in weighed),
        fmean(one.state for one in weighed),
    )


def _shipping(settings: Native, found: Sequence[Found], timed: Sequence[Timed], size: int) -> Table:
    rows = []
    for one in found:
        if not one.source.items:
            continue
        _, _, record, state = _means(one.weighed)
        reading = _reading_ms(settings, [time for time in timed if time.source == one.source.name])
        embedding = fmean(one.embed_ms)
        for what, size_, saves, use in (
            ("signed record (text)", record, 0.0, "any node, any model"),
            ("and a vector, float16", record + 2 * size, embedding, "nodes with the same weights"),
            ("and a KV state", record + state, reading, "nodes with the same weights, build, prompts and place"),
        ):
            more = 8 * (size_ - record) / 1000  # kbit
            pays = f"{more / saves:,.2f}" if saves > 0 else ""
            sending = [f"{8 * size_ / 1000 / link:,.2f}" for link in (_SLOW, _FAST)]
            rows.append((one.source.name, what, f"{size_:,.0f}", *sending, f"{saves:.0f}" if saves else "", pays, use))
    columns = (
        "source",
        "sent",
        "bytes",
        f"ms at {_SLOW} Mbit/s",
        f"ms at {_FAST} Mbit/s",
        "saves the receiver, ms",
        "pays above, Mbit/s",
        "of use to",
    )
    return Table("Sending one experience to one peer", columns, tuple(rows))


def _reading_ms(settings: Native, timed: Sequence[Timed]) -> float:
    """Return what it takes to read one experience more from its text; 0 where it was asked with one number of them only."""
    fewest, most = min(settings.ks), max(settings.ks)
    if fewest == most:
        return 0.0
    by = {k: fmean(one.ms[ANEW] for one in timed if one.k == k) for k in (fewest, most)}
    return max(0.0, by[most] - by[fewest]) / (most - fewest)


def _notes(settings: Native, size: int) -> tuple[str, ...]:
    return (
        f"of a document of more than {MOST_CHARACTERS:,} characters the beginning counts, for text and for vectors alike",
        f"a vector is the mean of the last layer's {size} values over the text's tokens",
        "centred: an experience less the mean of the corpus, a query less the mean of the other queries",
        f"fused: reciprocal rank fusion of BM25 and the centred vectors, of the first {DEPTH} of each",
        "a corpus is every document that answers a query, and others that each seed draws; queries are drawn as a whole",
        "time to the first token: the engine's, without recall; what all prompts begin with is kept in every case",
        "KV states, first use: they are made on the way; kept: they are in memory",
        "a KV state is float16, and of use only after the same beginning of the prompt",
        "pays above: over a faster link it is quicker to send it than to work it out again on this machine",
        f"times are of the first {settings.timed} questions, with the first seed",
    )
