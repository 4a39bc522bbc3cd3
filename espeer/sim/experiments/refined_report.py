"""What the experiment with refined experience came to: its figures, tables and plots (pure)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from espeer.lifecycle.choice import Method
from espeer.scale import Scale
from espeer.sim.experiments.estimates import Estimate, Outcomes, mean
from espeer.sim.experiments.report import PAIRED, Figure, Line, Plot, Report, Table, line, measured, paired, shown
from espeer.sim.experiments.settings import Refined

PLAIN: Final = "plain"
FULL: Final = "full"
_SCALES: Final[tuple[Scale, ...]] = ("raw", "normalised")
_KINDS: Final = ("test", "repeated")
_SHOWN: Final = "shown"
_TOLD: Final = "told"
_OWN: Final = "own"
_DIFFERENT: Final = "different"
_ALL: Final = "all subjects"
_KB: Final = 1000


@dataclass(frozen=True, slots=True)
class Counts:
    """What refining came to.

    :ivar merged: groups that one of their members stands for.
    :ivar condensed, extracted: groups that the model put into one text, and those whose sentences were put together.
    :ivar disputed: condensates whose sources were taken to contradict each other.
    """

    merged: int
    condensed: int
    extracted: int
    disputed: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A store as it was asked.

    :ivar active, bytes: experiences that recall may find, and what their texts take up.
    :ivar recall_ms: how long each recall took.
    :ivar refined: what refining came to; None where nothing was refined.
    :ivar calls, tokens: what that asked of the model.
    """

    active: int
    bytes: int
    recall_ms: tuple[float, ...]
    refined: Counts | None
    calls: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Store:
    """How questions were answered with a store.

    :ivar name: :data:`PLAIN`, :data:`FULL`, or as :func:`named`.
    :ivar test, repeated: by question, whether it was answered right: those never learnt from, and those asked again.
    :ivar shown: by question of the test, whether the model was shown a text at all.
    :ivar told: by question that was asked again, whether a text that the model was shown held all words of the right answer.
    :ivar own, different: by question that was asked again, how many texts that the model was shown stand for what was learnt
        from it, and how many were different texts.
    :ivar kept: None for the plain model, which has none.
    """

    name: str
    test: Mapping[str, bool]
    repeated: Mapping[str, bool]
    shown: Mapping[str, bool]
    told: Mapping[str, bool]
    own: Mapping[str, int]
    different: Mapping[str, int]
    kept: Kept | None


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike a store's texts are, on one scale.

    :ivar same, other: of pairs from one question, and from two; 0 where they share no term.
    """

    same: tuple[float, ...]
    other: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a subject with a seed.

    :ivar leaks: test questions left out, because they or their answers stood in the store.
    :ivar asked_for, written: wordings that the model was asked for, and those of them that were kept.
    """

    subject: str
    seed: int
    stores: tuple[Store, ...]
    alike: Mapping[Scale, Likeness]
    leaks: int
    asked_for: int
    written: int


def named(scale: Scale, threshold: float) -> str:
    """Return the name of a store that was refined at a threshold."""
    return f"{scale} {threshold:g}"


def report(settings: Refined, found: Sequence[Found], *, model: str, method: Method) -> Report:
    """Make the report."""
    by = {subject: _Subject([one for one in found if one.subject == subject]) for subject in settings.subjects}
    together = by if len(by) == 1 else {**by, _ALL: _Subject(found)}
    rows: dict[Scale, tuple[float, ...]] = {"raw": settings.raw, "normalised": settings.normalised}
    ordered = {scale: tuple(sorted(row)) for scale, row in rows.items() if row}
    written, asked_for = sum(one.written for one in found), sum(one.asked_for for one in found)
    leaks = sum(one.leaks for one in found)
    return Report(
        name=settings.experiment,
        about={
            "model": model,
            "asked by": method,
            "seeds": settings.seeds,
            "learnt from": settings.train,
            "asked": settings.test,
            "times each": settings.iterations,
            "wordings": settings.wordings,
            "k": settings.k,
        },
        figures=tuple(figure for name, one in by.items() for figure in one.figures(name)),
        tables=(
            *(Table(f"{name}: accuracy", *one.accuracy()) for name, one in together.items()),
            *(Table(f"{name}: the store and its cost, mean of the seeds", *one.cost()) for name, one in by.items()),
            _pairs(together),
            _alike(by, tuple(ordered)),
        ),
        plots=(
            *(
                _accuracy(settings.name, name, one, scale, row)
                for name, one in together.items()
                for scale, row in ordered.items()
            ),
            *(_sizes(settings.name, by, scale, row) for scale, row in ordered.items()),
        ),
        notes=(
            "test: questions never learnt from; repeated: the questions learnt from, asked again",
            "test: shown something: the share for which anything was recalled; for the others no store can make a difference",
            "answer recalled: the questions asked again for which a text shown to the model held all words of the right answer",
            "own texts: of those shown for a question asked again, what stands for its own experience; different: no copies",
            f"wordings asked of the model: {asked_for}; kept, because they said the same: {written}; all others are by rule",
            f"left out, because their text or their answer as a sentence of three words or more stood in a store: {leaks}",
            "what is superseded stays on disk for as long as there is room; bytes are of the texts that recall may find",
            "a p is of one comparison: of twenty without any difference one is below 0.05",
        ),
    )


class _Subject:
    """A subject, all seeds together."""

    def __init__(self, found: Sequence[Found]) -> None:
        self.found = found
        self.names = [store.name for store in found[0].stores]

    def stores(self, name: str) -> list[tuple[int, Store]]:
        return [(one.seed, store) for one in self.found for store in one.stores if store.name == name]

    def outcomes(self, name: str, kind: str) -> dict[str, list[float]]:
        """By question, with each seed: whether it was answered right, or what the model was shown."""
        right: dict[str, list[float]] = {}
        for _, store in self.stores(name):
            kinds: dict[str, Mapping[str, float]] = {
                "test": store.test,
                "repeated": store.repeated,
                _SHOWN: store.shown,
                _TOLD: store.told,
                _OWN: store.own,
                _DIFFERENT: store.different,
            }
            for item, one in kinds[kind].items():
                right.setdefault(item, []).append(float(one))
        return right

    def by_seed(self, name: str, value: Callable[[Kept], float]) -> Outcomes:
        return {f"seed {seed}": [float(value(store.kept))] for seed, store in self.stores(name) if store.kept}

    def figures(self, subject: str) -> list[Figure]:
        made = []
        for name in self.names:
            label = f"{subject}.{name.replace(' ', '-')}"
            made += [measured(f"{label}.{kind}", self.outcomes(name, kind), better="higher") for kind in _KINDS]
            if name != PLAIN:
                made += [
                    measured(f"{label}.told", self.outcomes(name, _TOLD), better="higher"),
                    measured(f"{label}.active", self.by_seed(name, lambda kept: kept.active)),
                    measured(f"{label}.bytes", self.by_seed(name, lambda kept: kept.bytes)),
                    measured(f"{label}.calls", self.by_seed(name, lambda kept: kept.calls), better="lower"),
                    measured(f"{label}.tokens", self.by_seed(name, lambda kept: kept.tokens), better="lower"),
                ]
        return made

    def accuracy(self) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        of = [len(self.outcomes(PLAIN, kind)) for kind in _KINDS]
        columns = (
            "store",
            *(f"{kind}, {number} questions" for kind, number in zip(_KINDS, of, strict=True)),
            "test: shown something",
            "answer recalled",
            "own texts / different texts",
        )
        return columns, tuple(self._accuracy(name) for name in self.names)

    def _accuracy(self, name: str) -> tuple[str, ...]:
        recalled = [mean(self.outcomes(name, kind)) for kind in (_SHOWN, _TOLD, _OWN, _DIFFERENT)]
        texts = f"{recalled[2].value:.1f} / {recalled[3].value:.1f}"
        cells = ("", "", "") if name == PLAIN else (f"{recalled[0].value:.0%}", shown(recalled[1]), texts)
        return name, *(shown(mean(self.outcomes(name, kind))) for kind in _KINDS), *cells

    def cost(self) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        columns = (
            *("store", "active", "KB of text", "recall p50 / p99 in ms", "model calls", "tokens"),
            *("merged", "condensed", "extracted", "disputed"),
        )
        return columns, tuple(self._cost(name) for name in self.names if name != PLAIN)

    def _cost(self, name: str) -> tuple[str, ...]:
        kept = [store.kept for _, store in self.stores(name) if store.kept]
        p50, p99 = np.percentile([taken for one in kept for taken in one.recall_ms], [50, 99])
        counts = [one.refined for one in kept if one.refined]

        def average(values: Sequence[float]) -> str:
            return f"{np.mean(values):,.0f}" if values else ""

        return (
            name,
            average([one.active for one in kept]),
            f"{np.mean([one.bytes for one in kept]) / _KB:,.1f}",
            f"{p50:.2f} / {p99:.2f}",
            average([one.calls for one in kept] if counts else []),
            average([one.tokens for one in kept] if counts else []),
            average([one.merged for one in counts]),
            average([one.condensed for one in counts]),
            average([one.extracted for one in counts]),
            average([one.disputed for one in counts]),
        )


def _pairs(by: Mapping[str, _Subject]) -> Table:
    rows = []
    for subject, one in by.items():
        for name in one.names:
            if name != FULL:
                compared = [paired(one.outcomes(name, kind), one.outcomes(FULL, kind)) for kind in _KINDS]
                rows.append((subject, name, *compared[0], *compared[1]))
    columns = tuple(f"{kind}: {what}" for kind in _KINDS for what in ("over full", *PAIRED))
    return Table("Pairs: each store over the full one", ("subject", "store", *columns), tuple(rows))


def _alike(by: Mapping[str, _Subject], scales: Sequence[Scale]) -> Table:
    rows = []
    for subject, one in by.items():
        for scale in scales:
            digits = 0 if scale == "raw" else 2
            same = [value for found in one.found for value in found.alike[scale].same]
            other = [value for found in one.found for value in found.alike[scale].other]
            rows.append((subject, scale, _quantiles(same, (10, 50, 90), digits), _quantiles(other, (50, 99, 100), digits)))
    columns = ("subject", "scale", "one question: p10 / p50 / p90", "two questions: p50 / p99 / most")
    return Table("How alike the texts of a full store are, pair by pair", columns, tuple(rows))


def _quantiles(values: Sequence[float], at: Sequence[int], digits: int) -> str:
    return " / ".join(f"{value:.{digits}f}" for value in np.percentile(values, at)) if values else ""


def _accuracy(name: str, subject: str, one: _Subject, scale: Scale, row: Sequence[float]) -> Plot:
    lines = []
    for kind in _KINDS:
        made = [mean(one.outcomes(named(scale, threshold), kind)) for threshold in row]
        lines.append(line(f"{kind}, refined", made))
        full = mean(one.outcomes(FULL, kind)).value
        lines.append(Line(f"{kind}, full", (full,) * len(row)))
    label = f"{scale} BM25 threshold"
    title = subject.replace("_", " ")
    file = f"{name}-{subject.replace(' ', '-')}-{scale}"
    return Plot(file, title, label, "share of right answers", tuple(row), tuple(lines), log_x=scale == "raw")


def _sizes(name: str, by: Mapping[str, _Subject], scale: Scale, row: Sequence[float]) -> Plot:
    lines = tuple(
        Line(subject.replace("_", " "), tuple(_active(one, named(scale, threshold)).value for threshold in row))
        for subject, one in by.items()
    )
    label = f"{scale} BM25 threshold"
    log_x = scale == "raw"
    return Plot(f"{name}-size-{scale}", "Experiences left", label, "active experiences", tuple(row), lines, log_x=log_x)


def _active(one: _Subject, name: str) -> Estimate:
    return mean(one.by_seed(name, lambda kept: kept.active))
