"""How well recall finds what it should under other BM25 parameters: a grid of k1 and b, compared with the default by query.

The best of many points on the same queries looks better than it is. So a point is also chosen on half of a collection's queries
and judged on the other half.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from espeer.bm25 import BM25Index
from espeer.sim.experiments import questions, retrieval
from espeer.sim.experiments.estimates import Estimate, difference
from espeer.sim.experiments.report import Figure, Line, Plot, Table, measured, shown, signed
from espeer.sim.experiments.retrieval import Collection
from espeer.sim.experiments.settings import Sensitivity
from espeer.sim.experiments.work import Work
from espeer.tasks import in_thread
from espeer.tokens import Tokenizer

K1: Final = 1.5
B: Final = 0.75
K: Final = 3
"""What a node uses unless it is told otherwise (:class:`espeer.Config`)."""

DEPTH: Final = 10
"""Of nDCG."""
_FILES: Final = ("scifact", "cranfield")
_DIGITS: Final = 4

Point = tuple[float, float]
"""k1 and b."""

Tokenize = Callable[[str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Found:
    """What came of each query of a collection at a point.

    :ivar ndcg: by query.
    :ivar recall: by depth, by query: the share of what answers it that is among so many first.
    """

    ndcg: Mapping[str, float]
    recall: Mapping[int, Mapping[str, float]]


Grid = Mapping[Point, Found]


async def search(settings: Sensitivity, work: Work) -> dict[str, Grid]:
    """Return for each collection what came of each point of the grid."""
    found: dict[str, Grid] = {}
    for name in settings.collections:
        collection = _collection(settings, work, name)
        tokenize = cache(Tokenizer())  # the texts are the same at each point
        with work.phase(f"{name}: recall", len(points(settings))) as tick:
            grid = {}
            for point in points(settings):
                grid[point] = await _at(work, collection, point, tokenize, [k for k in ks(settings) if k])
                tick()
        found[name] = grid
    return found


def points(settings: Sensitivity) -> list[Point]:
    """Return the points of the grid, with the default among them."""
    return sorted({(k1, b) for k1 in (*settings.k1, K1) for b in (*settings.b, B)})


def ks(settings: Sensitivity) -> list[int]:
    """Return how many experiences may be shown, with the default among them."""
    return sorted({*settings.ks, K})


def _collection(settings: Sensitivity, work: Work, name: str) -> Collection:
    if name in _FILES:
        whole = retrieval.load(work.data, name)
    else:
        items = questions.distinct(work.data, name)
        whole = retrieval.of_items(name, items, items)
    asked = questions.some(sorted(whole.queries), settings.queries)
    queries = {query: whole.queries[query] for query in asked}
    return Collection(name, whole.titles, whole.texts, queries, {query: whole.gains[query] for query in asked})


async def _at(work: Work, collection: Collection, point: Point, tokenize: Tokenize, deep: Sequence[int]) -> Found:
    async def make() -> dict[str, list[float]]:
        return await in_thread(lambda: _measured(collection, point, tokenize, deep))

    key = f"recall {collection.name} {len(collection.queries)} {point} {deep}"
    rows: dict[str, list[float]] = await work.once(key, make)
    return Found(
        {query: values[0] for query, values in rows.items()},
        {depth: {query: values[place] for query, values in rows.items()} for place, depth in enumerate(deep, 1)},
    )


def _measured(collection: Collection, point: Point, tokenize: Tokenize, deep: Sequence[int]) -> dict[str, list[float]]:
    """Index the documents and ask all queries; return nDCG, then recall at each depth, by query."""
    index = BM25Index(k1=point[0], b=point[1], tokenizer=lambda text: list(tokenize(text)))
    for key, text in collection.texts.items():
        index.add(key, f"{collection.titles[key]} {text}".strip())
    found = {}
    for query, text in collection.queries.items():
        ranking, gains = [key for key, _ in index.top_k(text, max(DEPTH, *deep))], collection.gains[query]
        values = [retrieval.ndcg(ranking, gains, DEPTH), *(retrieval.recall(ranking, gains, depth) for depth in deep)]
        found[query] = [round(value, _DIGITS) for value in values]
    return found


# -- what it came to


def figures(found: Mapping[str, Grid]) -> list[Figure]:
    """Return what the default reaches, query by query."""
    made = []
    for name, grid in found.items():
        default = grid[K1, B]
        made.append(measured(f"{name}.ndcg", _as_outcomes(default.ndcg), better="higher"))
        made += [
            measured(f"{name}.recall at {depth}", _as_outcomes(values), better="higher")
            for depth, values in default.recall.items()
        ]
    return made


def tables(found: Mapping[str, Grid], seeds: Iterable[int]) -> list[Table]:
    """Return the grid of each collection, what a tuned point is worth, and how much more is found further down."""
    return [*(_grid(name, grid) for name, grid in found.items()), _tuned(found, list(seeds)), _deeper(found)]


def plots(scenario: str, found: Mapping[str, Grid]) -> list[Plot]:
    """Return a plot for each collection, nDCG over b with a line for each k1, and one of recall over k."""
    made = []
    for name, grid in found.items():
        k1s, bs = sorted({k1 for k1, _ in grid}), sorted({b for _, b in grid})
        lines = tuple(Line(f"k1 = {k1:g}", tuple(_mean(grid[k1, b].ndcg) for b in bs)) for k1 in k1s)
        made.append(Plot(f"{scenario}-{name}", f"{name}: nDCG@{DEPTH}", "b", f"nDCG@{DEPTH}", tuple(bs), lines))
    first = next(iter(found.values()))[K1, B]
    lines = tuple(Line(name, tuple(map(_mean, grid[K1, B].recall.values()))) for name, grid in found.items())
    return [*made, Plot(f"{scenario}-recall", "", "recalled", "share found", tuple(first.recall), lines)]


def _grid(name: str, grid: Grid) -> Table:
    default = grid[K1, B]
    bs = sorted({b for _, b in grid})
    rows = []
    for k1 in sorted({k1 for k1, _ in grid}):
        cells = [_cell(grid[k1, b].ndcg, default.ndcg) for b in bs]
        rows.append((f"{k1:g}", *cells))
    title = f"{name}: nDCG@{DEPTH} by k1 (rows) and b (columns), with the difference to k1 {K1}, b {B}"
    return Table(f"{title}; {len(default.ndcg)} queries", ("k1", *(f"b = {b:g}" for b in bs)), tuple(rows))


def _cell(values: Mapping[str, float], default: Mapping[str, float]) -> str:
    if values is default:
        return f"**{_mean(values):.3f}**"
    return f"{_mean(values):.3f}, {signed(_over(values, default))}"


def _tuned(found: Mapping[str, Grid], seeds: Sequence[int]) -> Table:
    rows = []
    for name, grid in found.items():
        best = max(grid, key=lambda point: _mean(grid[point].ndcg))
        gain, chosen = tuned(grid, seeds)
        rows.append((name, _named(best), "; ".join(map(_named, chosen)), signed(gain)))
    columns = ("collection", "best on all queries", "chosen on half of them, by seed", "what that gains on the other half")
    return Table(f"A point chosen on half of the queries by nDCG@{DEPTH}, judged on the other half", columns, tuple(rows))


def tuned(grid: Grid, seeds: Sequence[int]) -> tuple[Estimate, list[Point]]:
    """Choose the best point on half of the queries; return what it gains on the others over the default, and which it was.

    :param seeds: each divides the queries in another way.
    """
    one: dict[str, list[float]] = {}
    other: dict[str, list[float]] = {}
    chosen = []
    for seed in seeds:
        queries = sorted(grid[K1, B].ndcg)
        random.Random(seed).shuffle(queries)  # noqa: S311 - nothing secret
        half = len(queries) // 2
        best = max(grid, key=lambda point: sum(grid[point].ndcg[query] for query in queries[:half]))
        chosen.append(best)
        for query in queries[half:]:
            one.setdefault(query, []).append(grid[best].ndcg[query])
            other.setdefault(query, []).append(grid[K1, B].ndcg[query])
    return difference(one, other), chosen


def _deeper(found: Mapping[str, Grid]) -> Table:
    rows = []
    for name, grid in found.items():
        default = grid[K1, B].recall
        rows.append((name, *(shown(measured("", _as_outcomes(values)).estimate) for values in default.values())))
    first = next(iter(found.values()))[K1, B]
    return Table(
        "Share of all documents that answer a query found among the first k, at the default",
        ("collection", *(f"k = {k}" for k in first.recall)),
        tuple(rows),
    )


def _as_outcomes(values: Mapping[str, float]) -> dict[str, list[float]]:
    return {query: [value] for query, value in values.items()}


def _over(values: Mapping[str, float], default: Mapping[str, float]) -> Estimate:
    return difference(_as_outcomes(values), _as_outcomes(default))


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)


def _named(point: Point) -> str:
    return f"k1 {point[0]:g}, b {point[1]:g}"
