"""What a node's long use came to: its values, and the report of them (pure)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final, TypedDict

import numpy as np

from espeer.sim.experiments.estimates import Estimate, Outcomes, difference, mean
from espeer.sim.experiments.report import PAIRED, Line, Plot, Report, Table, line, measured, paired, shown, signed
from espeer.sim.experiments.settings import Endurance

ACTIVE, SUPERSEDED, EVICTED = "active", "superseded", "evicted"
STATES: Final = (ACTIVE, SUPERSEDED, EVICTED)
_MB: Final = 1_000_000
_STEPS: Final = 4
"""A moving window moves by this part of itself."""


class Asked(TypedDict):
    """How a question was answered: rightly or not, and also without recall; with how many experiences; how long that took."""

    right: bool
    plain: bool
    recalled: int
    recall_ms: float
    choose_ms: float


class Told(TypedDict):
    """How the node was after it had been told what is right.

    ``learn_s`` is until the experience was there, ``at`` milliseconds since the Unix epoch, ``rss`` bytes of the process, and
    ``busy`` the seconds that the model worked since the query before, by priority.
    """

    learn_s: float
    at: int
    states: dict[str, int]
    methods: dict[str, int]
    store_bytes: int
    rss: int
    busy: dict[str, float]


class Refined(TypedDict):
    """A refinement run: see :class:`espeer.lifecycle.runs.Run`. ``seconds`` is None where it had not ended."""

    started: int
    seconds: float | None
    reason: str
    made: int
    superseded: int
    evicted: int


@dataclass(frozen=True, slots=True)
class Course:
    """A node's use with one seed, query by query.

    :ivar items: the questions' ids.
    """

    seed: int
    model: str
    items: Sequence[str]
    asked: Sequence[Asked]
    told: Sequence[Told]
    runs: Sequence[Refined]


@dataclass(frozen=True, slots=True)
class _Row:
    """A query: the question's id, whether the node had been told of it, and what came of it."""

    item: str
    known: bool
    asked: Asked
    told: Told


def report(settings: Endurance, courses: Sequence[Course]) -> Report:
    """Return the report."""
    rows = [row for course in courses for row in _rows(course)]
    known, new = [row for row in rows if row.known], [row for row in rows if not row.known]
    parts = [("all", rows), ("told of before", known), ("not told of before", new)]
    figures = [
        figure
        for name, some in parts
        if some
        for figure in (
            measured(f"{name}.right", _outcomes(some, "right"), better="higher"),
            measured(f"{name}.without recall", _outcomes(some, "plain"), better="higher"),
        )
    ]
    figures.append(measured("recall ms", _by_item(rows, lambda row: row.asked["recall_ms"]), better="lower"))
    return Report(
        name=settings.experiment,
        about={
            "model": courses[0].model,
            "seeds": settings.seeds,
            "queries": settings.queries,
            "different": len({row.item for row in rows}),
            "k": settings.k,
            "refine after": settings.refine_after,
            "threshold": settings.threshold,
            "max records": settings.max_records,
            "rests": f"{settings.rest:g} s after every {settings.rest_every} queries" if settings.rest else "none",
        },
        figures=tuple(figures),
        tables=(
            _accuracy([part for part in parts if part[1]]),
            _windows(settings, courses),
            _runs(courses),
            _cost(settings, rows),
        ),
        plots=(_right(settings, courses), _growth(settings, courses), _spent(settings, courses)),
        notes=(
            "a question that came back is told of by another sentence of what is known, where there is one",
            "without recall: the same questions, the same model, each asked once; in the test, too, a question counts once",
            "moving windows overlap and share questions with each other: they show the course, and are not independent",
            "a run goes on only while the model has nothing more urgent to do: its seconds are from its beginning to its end",
            "RSS is that of the whole process, the model's weights and caches among it; all seeds run in one process",
            f"a run is due when {settings.refine_after} records are new, or more than {settings.max_records} active",
        ),
    )


def _rows(course: Course) -> list[_Row]:
    seen: set[str] = set()
    rows = []
    for item, asked, told in zip(course.items, course.asked, course.told, strict=True):
        rows.append(_Row(item, item in seen, asked, told))
        seen.add(item)
    return rows


def _by_item(rows: Sequence[_Row], value: Callable[[_Row], float]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row.item, []).append(value(row))
    return found


def _outcomes(rows: Sequence[_Row], which: str) -> Outcomes:
    return _by_item(rows, lambda row: float(row.asked["right" if which == "right" else "plain"]))


def _accuracy(parts: Sequence[tuple[str, Sequence[_Row]]]) -> Table:
    lines = []
    for name, rows in parts:
        with_it, without = _outcomes(rows, "right"), _outcomes(rows, "plain")
        lines.append((name, str(len(rows)), shown(mean(with_it)), shown(mean(without)), *paired(with_it, without)))
    columns = (
        "questions",
        "queries",
        "right",
        "without recall",
        "difference",
        *PAIRED,
    )
    return Table("Share of right answers", columns, tuple(lines))


def _windows(settings: Endurance, courses: Sequence[Course]) -> Table:
    lines = []
    for start in range(0, settings.queries, settings.window):
        end = min(start + settings.window, settings.queries)
        rows = [row for course in courses for row in _rows(course)[start:end]]
        last = [course.told[end - 1] for course in courses]
        p50, p99 = np.percentile([row.asked["recall_ms"] for row in rows], [50, 99])
        right = _outcomes(rows, "right")
        lines.append(
            (
                f"{start + 1} to {end}",
                shown(mean(right)),
                signed(difference(right, _outcomes(rows, "plain"))),
                *(f"{fmean(told['states'].get(state, 0) for told in last):.0f}" for state in STATES),
                f"{fmean(told['store_bytes'] for told in last) / _MB:.2f}",
                f"{p50:.1f} / {p99:.1f}",
                f"{median(row.asked['choose_ms'] for row in rows):.0f}",
                f"{median(row.told['learn_s'] for row in rows):.2f}",
                f"{fmean(told['rss'] for told in last) / _MB:.0f}",
            )
        )
    columns = (
        *("queries", "right", "over no recall", *STATES),
        *("store, MB", "recall p50 / p99, ms", "choose p50, ms", "learn p50, s", "RSS, MB"),
    )
    return Table("In the course of it", columns, tuple(lines))


def _runs(courses: Sequence[Course]) -> Table:
    lines = []
    for course in courses:
        for run in course.runs:
            place = sum(told["at"] <= run["started"] for told in course.told) + 1
            done = (str(run[key]) for key in ("made", "superseded", "evicted"))
            seconds = "not ended" if run["seconds"] is None else f"{run['seconds']:.1f}"
            lines.append((str(course.seed), str(place), run["reason"], *done, seconds))
    columns = ("seed", "in query", "reason", "condensates", "superseded", "evicted", "seconds")
    return Table("Refinement runs", columns, tuple(lines))


def _cost(settings: Endurance, rows: Sequence[_Row]) -> Table:
    names = list(dict.fromkeys(name for row in rows for name in row.told["busy"]))
    lines = []
    for name in names:
        spent = sum(row.told["busy"].get(name, 0.0) for row in rows)
        lines.append((name, f"{spent / len(settings.seeds):.1f}", f"{1000 * spent / len(rows):.0f}"))
    return Table("What the model worked for", ("priority", "seconds, a seed", "ms a query"), tuple(lines))


def _ends(settings: Endurance) -> list[int]:
    step = max(1, settings.window // _STEPS)
    return list(range(settings.window, settings.queries + 1, step)) or [settings.queries]


def _right(settings: Endurance, courses: Sequence[Course]) -> Plot:
    every = [_rows(course) for course in courses]
    ends = _ends(settings)

    def over(which: str, *, moving: bool) -> list[Estimate]:
        starts = [max(0, end - settings.window) if moving else 0 for end in ends]
        spans = zip(starts, ends, strict=True)
        return [mean(_outcomes([row for rows in every for row in rows[start:end]], which)) for start, end in spans]

    window = f"last {min(settings.window, settings.queries)}"
    lines = (
        line(window, over("right", moving=True)),
        line(f"{window}, without recall", over("plain", moving=True)),
        line("all so far", over("right", moving=False)),
    )
    return Plot(f"{settings.name}-right", "Right answers", "queries", "share of right answers", tuple(ends), lines)


def _growth(settings: Endurance, courses: Sequence[Course]) -> Plot:
    ends = _ends(settings)
    lines = tuple(
        Line(state, tuple(fmean(course.told[end - 1]["states"].get(state, 0) for course in courses) for end in ends))
        for state in STATES
    )
    return Plot(f"{settings.name}-growth", "The store", "queries", "experiences", tuple(ends), lines)


def _spent(settings: Endurance, courses: Sequence[Course]) -> Plot:
    ends = _ends(settings)
    names = dict.fromkeys(name for course in courses for name in course.told[0]["busy"])
    lines = tuple(
        Line(
            name,
            tuple(fmean(sum(told["busy"].get(name, 0) for told in course.told[:end]) for course in courses) for end in ends),
        )
        for name in names
    )
    return Plot(f"{settings.name}-cost", "What the model worked for", "queries", "seconds", tuple(ends), lines)
