"""What the ablation of the prompts came to: its values, and the report of them (pure)."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final, TypedDict

from espeer.lifecycle.choice import Method
from espeer.lifecycle.essence import Essence, stems
from espeer.sim.experiments.estimates import Outcomes, difference, mean
from espeer.sim.experiments.manners import CURRENT
from espeer.sim.experiments.questions import Item
from espeer.sim.experiments.report import PAIRED, Figure, Plot, Report, Table, line, measured, paired, shown, signed
from espeer.sim.experiments.settings import Ablation

PLAIN: Final = "plain"
"""No experience at all."""
NEW: Final = "new"
"""Questions that were not learnt from."""
AGAIN: Final = "again"
"""Some of those that were."""

REASONS: Final = ("lost", "made up", "echoes", "too long", "forgot", "empty")
"""How the check's complaints begin (:func:`espeer.lifecycle.distil.problems`, :func:`espeer.lifecycle.condense.problems`)."""


class Made(TypedDict):
    """What came of asking the model to put something in other words, as a node does.

    ``calls`` are answers of the model, ``first`` is what the check said of its first, ``read`` and ``written`` are tokens.
    """

    text: str
    method: str
    calls: int
    first: list[str]
    read: int
    written: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A question's outcome: new or again, with which variant's experiences, whether it was right, and how many were shown."""

    item: str
    which: str
    variant: str
    right: bool
    recalled: int


@dataclass(frozen=True, slots=True)
class Ranked:
    """At which place a question that was learnt from finds its own experience; None where it does not."""

    item: str
    variant: str
    place: int | None


@dataclass(frozen=True, slots=True)
class Group:
    """What was made of one question in several manners: ``texts``, all different."""

    item: Item
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it all.

    :ivar lessons: by variant, by question.
    :ivar notes: the same, of condensation.
    :ivar groups: what these notes are made of.
    """

    asked: list[Asked]
    ranked: list[Ranked]
    lessons: Mapping[str, Mapping[str, Made]]
    notes: Mapping[str, Mapping[str, Made]]
    groups: list[Group]


def report(settings: Ablation, outcome: Outcome, *, model: str, method: Method) -> Report:
    """Return the report."""
    variants = tuple(settings.distilling)
    right = {
        (name, which): _outcomes((one.item, one.right) for one in outcome.asked if (one.variant, one.which) == (name, which))
        for name in (PLAIN, *variants)
        for which in (NEW, AGAIN)
    }
    found = {name: _outcomes((one.item, one.place == 1) for one in outcome.ranked if one.variant == name) for name in variants}
    figures = [
        *(measured(f"{name}.{which}", values, better="higher") for (name, which), values in right.items()),
        *(measured(f"{name}.found first", values, better="higher") for name, values in found.items()),
        *_accepted("distil", outcome.lessons),
        *_accepted("condense", outcome.notes),
    ]
    tables = [
        Table("Distillation: what came of the tries", _TRIES, tuple(_tries(outcome.lessons))),
        Table("Why first tries of distillation were refused: shares of them all", _REFUSED, tuple(_refused(outcome.lessons))),
        *(_accuracy(which, right, outcome.asked, (PLAIN, *variants)) for which in (NEW, AGAIN)),
        _finding(settings.k, outcome, found),
    ]
    if outcome.groups:
        tables += [
            Table("Condensation: what came of the tries", _TRIES, tuple(_tries(outcome.notes))),
            Table("Why first tries of condensation were refused: shares of them all", _REFUSED, tuple(_refused(outcome.notes))),
            _kept(outcome),
        ]
    return Report(
        name=settings.experiment,
        about={
            "model": model,
            "asked by": method,
            "seeds": settings.seeds,
            "learnt with each": settings.learn,
            "asked with each": settings.ask,
            "k": settings.k,
        },
        figures=tuple(figures),
        tables=tuple(tables),
        plots=(_bars(settings, "right", "share of right answers", right, (PLAIN, *variants)), _tried(settings, outcome)),
        notes=(
            f"{NEW}: questions that nothing was learnt from; {AGAIN}: those that were, in the same words",
            "quoted: no model, the episode's own sentences; what is refused twice ends as that in every variant",
            "a first condensate is judged as it was said; only then are sentences of the sources put behind it",
            "the second try's prompt and the check are the same for all",
        ),
    )


def _outcomes(pairs: Iterable[tuple[str, bool]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for item, value in pairs:
        found.setdefault(item, []).append(float(value))
    return found


def _first(made: Made) -> bool:
    """Whether the model's first try was kept."""
    return made["method"] in ("distilled", "condensed") and made["calls"] == 1


def _second(made: Made) -> bool:
    return made["method"] != "extractive" and not _first(made)


def _accepted(what: str, by_variant: Mapping[str, Mapping[str, Made]]) -> list[Figure]:
    return [
        measured(f"{what}.{name}.first try kept", _each(made, _first), better="higher")
        for name, made in by_variant.items()
        if made
    ]


_TRIES: Final = (
    *("variant", "of", "first try kept", f"over {CURRENT}", "second", "quoted", "characters, median"),
    *("tokens read", "written", "calls"),
)


def _tries(by_variant: Mapping[str, Mapping[str, Made]]) -> list[tuple[str, ...]]:
    rows = []
    first = {name: _each(made, _first) for name, made in by_variant.items()}
    for name, made in by_variant.items():
        every = list(made.values())
        shares = [fmean(map(kind, every)) for kind in (_second, lambda one: one["method"] == "extractive")]
        spent = [fmean(one["read"] for one in every), fmean(one["written"] for one in every)]
        calls = fmean(one["calls"] for one in every)
        length = median(len(one["text"]) for one in every)
        shown_shares = (f"{share:.0%}" for share in shares)
        rows.append(
            (
                *(name, str(len(every)), shown(mean(first[name])), _over_current(name, first), *shown_shares, f"{length:.0f}"),
                *(f"{one:.0f}" for one in spent),
                f"{calls:.2f}",
            )
        )
    return rows


def _each(made: Mapping[str, Made], value: Callable[[Made], bool]) -> Outcomes:
    return {item: [float(value(one))] for item, one in made.items()}


def _over_current(name: str, values: Mapping[str, Outcomes]) -> str:
    return "" if name == CURRENT else signed(difference(values[name], values[CURRENT]))


_REFUSED: Final = ("variant", "refused", *REASONS)


def _refused(by_variant: Mapping[str, Mapping[str, Made]]) -> list[tuple[str, ...]]:
    rows = []
    for name, made in by_variant.items():
        tried = [one for one in made.values() if one["calls"]]
        counts = Counter(reason for one in tried for reason in REASONS if any(said.startswith(reason) for said in one["first"]))
        if tried:
            refused = sum(bool(one["first"]) for one in tried)
            rows.append((name, *(f"{count / len(tried):.0%}" for count in (refused, *(counts[reason] for reason in REASONS)))))
    return rows


def _accuracy(which: str, right: Mapping[tuple[str, str], Outcomes], asked: Sequence[Asked], variants: Sequence[str]) -> Table:
    rows = []
    current = right[CURRENT, which]
    for name in variants:
        values = right[name, which]
        cells = ("", "", "") if name == CURRENT else paired(values, current)
        recalled = fmean(one.recalled for one in asked if (one.variant, one.which) == (name, which))
        rows.append((name, str(len(values)), f"{recalled:.1f}", shown(mean(values)), *cells))
    columns = ("variant", "questions", "shown, mean", "share", f"over {CURRENT}", *PAIRED)
    return Table(f"Share of right answers, {which}", columns, tuple(rows))


def _finding(k: int, outcome: Outcome, found: Mapping[str, Outcomes]) -> Table:
    rows = []
    for name, first in found.items():
        among = [one.place is not None for one in outcome.ranked if one.variant == name]
        rows.append((name, shown(mean(first)), _over_current(name, found), f"{fmean(among):.3f}"))
    columns = ("variant", "first", f"over {CURRENT}", f"among {k}")
    return Table("How often a question that was learnt from finds its own experience", columns, tuple(rows))


def _kept(outcome: Outcome) -> Table:
    texts = {
        name: {group.item.id: (group, made[group.item.id]["text"]) for group in outcome.groups}
        for name, made in outcome.notes.items()
    }
    facts = {
        name: {item: [share] for item, (group, text) in pairs.items() if (share := kept(text, group.texts)) is not None}
        for name, pairs in texts.items()
    }
    answers = {
        name: {item: [_holds_answer(text, group.item.right)] for item, (group, text) in pairs.items()}
        for name, pairs in texts.items()
    }
    rows = []
    for name, pairs in texts.items():
        cells = [
            cell
            for values in (facts, answers)
            for cell in ((shown(mean(values[name])), _over_current(name, values)) if values[name] else ("", ""))
        ]
        shorter = fmean(len(text) / sum(map(len, group.texts)) for group, text in pairs.values())
        rows.append((name, str(len(pairs)), *cells, f"{shorter:.0%}"))
    over = f"over {CURRENT}"
    columns = (
        "variant",
        "groups",
        "agreed facts kept",
        over,
        "terms of the right answer",
        over,
        "length, of the sources' together",
    )
    return Table("Condensation: what is kept", columns, tuple(rows))


def kept(text: str, sources: Sequence[str]) -> float | None:
    """Return the share of the codes, numbers and names in more than half of the sources that a text holds; None for none."""
    held = Counter(fact for source in map(Essence, sources) for fact in source.codes | source.numbers | source.names)
    agreed = {fact for fact, times in held.items() if 2 * times > len(sources)}
    essence = Essence(text)
    return len(agreed & (essence.codes | essence.numbers | essence.words)) / len(agreed) if agreed else None


def _holds_answer(text: str, answer: str) -> float:
    wanted = stems(answer)
    return len(wanted & stems(text)) / len(wanted) if wanted else 1.0


def _bars(
    settings: Ablation, name: str, label: str, values: Mapping[tuple[str, str], Outcomes], variants: tuple[str, ...]
) -> Plot:
    lines = tuple(line(which, [mean(values[variant, which]) for variant in variants]) for which in (NEW, AGAIN))
    return Plot(f"{settings.name}-{name}", "Right answers", "", label, variants, lines, kind="bars")


def _tried(settings: Ablation, outcome: Outcome) -> Plot:
    variants = tuple(outcome.lessons)
    first, second = ([mean(_each(outcome.lessons[name], kind)) for name in variants] for kind in (_first, _second))
    lines = (line("first try kept", first), line("second try kept", second))
    return Plot(f"{settings.name}-tries", "Lessons worded by the model", "", "share of all", variants, lines, kind="bars")
