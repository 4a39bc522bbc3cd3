"""Measured values beside what was aimed at, as a table for people and as JSON."""

import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espeer.llm.cores import processor

_PACKAGES = ("numpy", "rank-bm25", "bm25s", "numba", "scipy", "tantivy", "PyStemmer")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value.

    :ivar unit: of the value and of the aim; "x" is a ratio, KB and MB are powers of 1000.
    :ivar at_most: the aim, if it is an upper bound.
    :ivar at_least: the aim, if it is a lower bound.
    """

    what: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def aim(self) -> str:
        """The aim, in words."""
        if self.at_most is not None:
            return f"≤ {self.at_most:g} {self.unit}"
        return f"≥ {self.at_least:g} {self.unit}" if self.at_least is not None else ""

    @property
    def reached(self) -> bool | None:
        """Whether the aim is reached; None if there is none."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return self.value >= self.at_least if self.at_least is not None else None

    def as_json(self) -> dict[str, Any]:
        """Return all of it."""
        return {
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "at_most": self.at_most,
            "at_least": self.at_least,
            "reached": self.reached,
            "note": self.note,
        }


def machine() -> dict[str, Any]:
    """Return what the figures depend on besides espeer."""
    versions: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "compiled": importlib.util.find_spec("espeer._scoring") is not None,
        "packages": versions,
    }


def described(on: dict[str, Any]) -> str:
    """Return what :func:`machine` returned as a sentence."""
    loops = "compiled" if on["compiled"] else "made by numpy"
    return (
        f"{on['cores']} cores of {on['processor']}, load {on['load']}, Python {on['python']}; espeer's inner loops are {loops}"
    )


def number(value: float) -> str:
    """Return a value with three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table that is also straight to the eye."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in lines)


def figures_table(figures: Sequence[Figure]) -> str:
    """Return the figures as a table."""
    verdict = {None: "", True: "pass", False: "MISS"}
    rows = [[one.what, f"{number(one.value)} {one.unit}", one.aim, verdict[one.reached], one.note] for one in figures]
    return table(("what", "measured", "aim", "", "note"), rows)


def write_json(content: dict[str, Any], where: str) -> None:
    """Write one line of JSON to a file, or to the standard output for "-"."""
    line = json.dumps(content, ensure_ascii=False)
    if where == "-":
        sys.stdout.write(line + "\n")
    else:
        Path(where).write_text(line + "\n", encoding="utf-8")
