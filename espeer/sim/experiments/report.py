"""What an experiment came to: figures, tables and plots, as JSON and Markdown (pure).

A figure may carry what came of each question, so that two reports can be compared pair by pair.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from espeer.sim.experiments.estimates import Estimate, Outcomes, apart, difference, mean

Better = Literal["higher", "lower", ""]
"""Which way a figure should go; "" where that is no question of good or bad."""

PAIRED: Final = ("questions more / less often right", "p (sign test, exact)")
"""The columns of :func:`paired`, behind that of the difference."""

_SMALL_P: Final = 0.001

FORM: Final = 1
"""Version of the JSON form."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Something measured.

    :ivar name: such as ``high_school_biology.experience.accuracy``.
    :ivar outcomes: by question, what it was each time; empty where the figure is one measurement.
    """

    name: str
    estimate: Estimate
    better: Better = ""
    outcomes: Outcomes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows for people."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One line, or one group of bars, of a plot.

    :ivar low, high: of each point, its interval; empty for none.
    """

    label: str
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot.

    :ivar name: its file's, without the ending.
    :ivar x: where the points stand: numbers for lines, names for bars.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    x: tuple[float | str, ...]
    lines: tuple[Line, ...]
    kind: Literal["lines", "bars"] = "lines"
    log_x: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that an experiment came to.

    :ivar about: what it was done with: model, prompts, data, machine, seeds, settings.
    :ivar notes: what has to be known beside the figures, a sentence each.
    """

    name: str
    about: Mapping[str, Any]
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...]
    plots: tuple[Plot, ...] = ()
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "form": FORM,
            "name": self.name,
            "about": dict(self.about),
            "figures": [dataclasses.asdict(figure) for figure in self.figures],
            "tables": [dataclasses.asdict(table) for table in self.tables],
            "notes": list(self.notes),
        }

    def as_markdown(self, *, command: str, machine: Mapping[str, Any]) -> str:
        """Return the tables for a page of docs, with the command that made them and the machine."""
        parts = [f"    {command}", _sentence({**self.about, **machine})]
        parts += [_markdown(table) for table in self.tables]
        parts += [f"- {note}" for note in self.notes]
        return "\n\n".join(parts) + "\n"


def measured(name: str, outcomes: Outcomes, *, better: Better = "") -> Figure:
    """Make a figure of what came of each question."""
    return Figure(name, mean(outcomes), better, outcomes)


def line(label: str, estimates: Sequence[Estimate]) -> Line:
    """Make a line, or a group of bars, of estimates and their intervals."""
    return Line(label, *(tuple(getattr(one, part) for one in estimates) for part in ("value", "low", "high")))


def shown(estimate: Estimate, *, digits: int = 3) -> str:
    """Show an estimate with its interval."""
    return f"{estimate.value:.{digits}f} ({_interval(estimate, f'.{digits}f')})"


def signed(estimate: Estimate, *, digits: int = 3) -> str:
    """Show a difference with its interval."""
    return f"{estimate.value:+.{digits}f} ({_interval(estimate, f'+.{digits}f')})"


def paired(one: Outcomes, other: Outcomes) -> tuple[str, str, str]:
    """Show how much higher ``one`` is, how many questions it is more and less often right about, and p of these counts.

    A question that was asked several times counts once. Where each was asked once this is McNemar's test.
    """
    counts = apart(one, other)
    p = f"{counts.p:.3f}" if counts.p >= _SMALL_P else f"< {_SMALL_P}"
    return signed(difference(one, other)), f"{counts.only_one} / {counts.only_other}", p


def _interval(estimate: Estimate, form: str) -> str:
    """Show an interval; resamples of what is all alike have none, which does not mean that the value is sure."""
    if estimate.low == estimate.high:
        return f"{estimate.of}, all alike" if estimate.of > 1 else "of one"
    return f"{estimate.low:{form}} to {estimate.high:{form}}"


def _markdown(table: Table) -> str:
    lines = [table.columns, tuple("---" for _ in table.columns), *table.rows]
    return f"**{table.title}**\n\n" + "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _sentence(about: Mapping[str, Any]) -> str:
    return "; ".join(f"{name.replace('_', ' ')}: {_listed(value)}" for name, value in about.items())


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
