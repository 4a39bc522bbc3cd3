"""What clients that were asked again and again came to (pure)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Final, Literal, get_args

from espeer.sim.experiments.estimates import Outcomes, calibration_error, mean
from espeer.sim.experiments.report import PAIRED, Figure, Line, Plot, Report, Table, measured, paired, shown
from espeer.sim.experiments.settings import Repetitive
from espeer.sim.experiments.trace import BEFORE, OTHERS, Before

Way = Literal["plain", "alone", "server", "peers"]
"""How the clients are deployed: without experience, each with its own, all with what a server holds, all as peers."""

PLAIN: Final = "plain"
ALONE: Final = "alone"
SERVER: Final = "server"
PEERS: Final = "peers"
_BY_TEXT: Final = (
    "by text that share is of the choices' mean tokens, so it is low for all: compare it, but do not take it at its word",
)
WAYS: Final[tuple[Way, ...]] = get_args(Way)
_COMPARED: Final[tuple[tuple[Way, Way], ...]] = ((PEERS, PLAIN), (PEERS, ALONE), (PEERS, SERVER))


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of a question to a client.

    :ivar epoch: from 1.
    :ivar before: who had been told what is right.
    :ivar share: the model's share of probability for what it chose.
    :ivar reported: its probability of "Yes" when it is asked whether that is right.
    :ivar recalled: names the texts that it was shown, in their order.
    """

    subject: str
    way: Way
    seed: int
    epoch: int
    client: int
    item: str
    before: Before
    right: bool
    share: float
    reported: float
    recalled: str


_SURE: Final[Mapping[str, Callable[[Asked], float]]] = {"reported": lambda one: one.reported, "share": lambda one: one.share}
"""The two kinds of confidence."""


def report(settings: Repetitive, asked: Sequence[Asked], *, model: str, method: str) -> Report:
    """Put all that was asked into figures, tables and plots."""
    of = {
        (subject, way): [one for one in asked if (one.subject, one.way) == (subject, way)]
        for subject in settings.subjects
        for way in WAYS
    }
    epochs = range(1, settings.epochs + 1)
    same, pairs = _shown_the_same([*asked])
    return Report(
        name=settings.experiment,
        about={
            "model": model,
            "asked by": method,
            "seeds": settings.seeds,
            "clients": settings.clients,
            "epochs": settings.epochs,
            "share": settings.share,
            "questions at most": settings.most,
            "k": settings.k,
        },
        figures=tuple(_figures(of, epochs)),
        tables=(_by_epoch(of, epochs), _by_knowledge(of), _pairs(settings.subjects, of, epochs), _confidence(of, epochs)),
        plots=tuple(plot for subject in settings.subjects for plot in _plots(settings, subject, of, epochs)),
        notes=(
            "a question that comes back asks whether what was told of it is found and used, not whether it was understood",
            "an epoch's questions are answered with what was known when it began; all deployments get the same ones",
            "a question is drawn as a whole for the intervals and counts once in the sign test, however often it was asked",
            "reported: the model's probability of Yes, against No, when it is asked whether its choice is right",
            "share: its share of the choices' probability for what it chose; calibration error (expected, ECE) is over 10 bins",
            *(_BY_TEXT if method == "text" else ()),
            f"peers and clients of a server were shown the same texts, in the same order, in {same:,} of {pairs:,} asks",
        ),
    )


_Group = Mapping[tuple[str, Way], Sequence[Asked]]


def _right(asked: Sequence[Asked]) -> Outcomes:
    return _outcomes(asked, lambda one: float(one.right))


def _outcomes(asked: Sequence[Asked], value: Callable[[Asked], float]) -> Outcomes:
    found: dict[str, list[float]] = {}
    for one in asked:
        found.setdefault(one.item, []).append(value(one))
    return found


def _figures(of: _Group, epochs: range) -> list[Figure]:
    figures = []
    for (subject, way), asked in of.items():
        figures.append(measured(f"{subject}.{way}.accuracy", _right(asked), better="higher"))
        parts = {f"before-{before}": [one for one in asked if one.before == before] for before in BEFORE}
        parts |= {f"epoch-{epoch}": [one for one in asked if one.epoch == epoch] for epoch in epochs}
        figures += [
            measured(f"{subject}.{way}.{name}.accuracy", _right(part), better="higher") for name, part in parts.items() if part
        ]
        for name, part in (("right", _hits(asked)), ("wrong", _misses(asked))):
            if part:
                figures += [measured(f"{subject}.{way}.{kind}-{name}", _outcomes(part, sure)) for kind, sure in _SURE.items()]
    return figures


def _hits(asked: Sequence[Asked]) -> list[Asked]:
    return [one for one in asked if one.right]


def _misses(asked: Sequence[Asked]) -> list[Asked]:
    return [one for one in asked if not one.right]


def _by_epoch(of: _Group, epochs: range) -> Table:
    rows = [
        (subject, way, *(shown(mean(_right([one for one in asked if one.epoch == epoch]))) for epoch in epochs))
        for (subject, way), asked in of.items()
    ]
    return Table("Share of right answers by epoch", ("subject", "deployment", *map(str, epochs)), tuple(rows))


def _by_knowledge(of: _Group) -> Table:
    """Tell what comes back from what is new: only what came back, and to another client, can gain by sharing."""
    rows = []
    for subject in dict.fromkeys(subject for subject, _ in of):
        for before in BEFORE:
            cells = {way: [one for one in of[subject, way] if one.before == before] for way in WAYS}
            if cells[PLAIN]:
                rows.append((subject, before, str(len(cells[PLAIN])), *(shown(mean(_right(cell))) for cell in cells.values())))
    return Table(
        "Share of right answers by who had been asked before, in an earlier epoch",
        ("subject", "asked before", "asks", *WAYS),
        tuple(rows),
    )


def _pairs(subjects: Sequence[str], of: _Group, epochs: range) -> Table:
    rows = []
    later = epochs[1:]
    spans: list[tuple[Way, Way, Sequence[int]]] = [(one, other, later) for one, other in _COMPARED]
    if len(later) > 1:
        spans = [*((PEERS, PLAIN, [epoch]) for epoch in later), *spans]
    for subject in subjects:
        for one, other, span in spans:
            mine, theirs = (_right([ask for ask in of[subject, way] if ask.epoch in span]) for way in (one, other))
            when = f"{span[0]}" if len(span) == 1 else f"{span[0]} to {span[-1]}"
            rows.append((subject, f"{one} over {other}", when, "all", *paired(mine, theirs)))
        for one, other in _COMPARED:
            mine, theirs = (_right([ask for ask in of[subject, way] if ask.before == OTHERS]) for way in (one, other))
            if mine:
                rows.append((subject, f"{one} over {other}", "all", "only others", *paired(mine, theirs)))
    return Table(
        "Pairs: the same questions to the same clients",
        ("subject", "compared", "epochs", "asked before", "difference", *PAIRED),
        tuple(rows),
    )


def _confidence(of: _Group, epochs: range) -> Table:
    rows = []
    for (subject, way), asked in of.items():
        parts = {str(epoch): [one for one in asked if one.epoch == epoch] for epoch in epochs}
        for name, part in (parts | {"all": asked}).items():
            right = [one.right for one in part]
            cells = []
            for sure in _SURE.values():
                cells += [shown(mean(_outcomes(half, sure))) if half else "-" for half in (_hits(part), _misses(part))]
                cells.append(f"{calibration_error([sure(one) for one in part], right):.3f}")
            rows.append((subject, way, name, *cells))
    kinds = ("where right", "where wrong", "calibration error")
    columns = ("subject", "deployment", "epoch", *(f"{sure}, {kind}" for sure in _SURE for kind in kinds))
    return Table("The model's confidence in its answers", columns, tuple(rows))


def _shown_the_same(asked: Sequence[Asked]) -> tuple[int, int]:
    """Count the asks in which peers and clients of a server were shown the same, and all of them."""
    by = {
        way: {(one.subject, one.seed, one.epoch, one.client, one.item): one.recalled for one in asked if one.way == way}
        for way in (PEERS, SERVER)
    }
    return sum(by[SERVER][key] == recalled for key, recalled in by[PEERS].items()), len(by[PEERS])


def _plots(settings: Repetitive, subject: str, of: _Group, epochs: range) -> list[Plot]:
    x = tuple(map(str, epochs))
    name = subject.replace("_", " ")
    sure = [
        _line(
            f"{way}, {label}",
            [_outcomes(part([one for one in of[subject, way] if one.epoch == epoch]), _SURE["reported"]) for epoch in epochs],
        )
        for way in (ALONE, PEERS)
        for label, part in (("right", _hits), ("wrong", _misses))
    ]
    return [
        Plot(
            f"{settings.name}-{subject}-accuracy",
            f"Asked again and again: {name}",
            "epoch",
            "share of right answers",
            x,
            tuple(
                _line(way, [_right([one for one in of[subject, way] if one.epoch == epoch]) for epoch in epochs])
                for way in WAYS
            ),
        ),
        Plot(
            f"{settings.name}-{subject}-confidence",
            f"How sure the model is: {name}",
            "epoch",
            "reported confidence",
            x,
            tuple(sure),
        ),
    ]


def _line(label: str, points: Sequence[Outcomes]) -> Line:
    """Make a line with a gap where there is nothing."""
    made = [mean(point) if point else None for point in points]
    values, lows, highs = (
        tuple(nan if one is None else getattr(one, part) for one in made) for part in ("value", "low", "high")
    )
    return Line(label, values, lows, highs)
