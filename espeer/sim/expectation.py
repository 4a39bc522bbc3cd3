"""What a scenario expects of its figures (pure)."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from espeer.errors import ConfigError

MAX_EXPECTATIONS: Final = 32

_LIMIT: Final = re.compile(r"\s*(<=|>=|==|<|>)\s*(-?[0-9]{1,12}(?:\.[0-9]{1,9})?)\s*")


@dataclass(frozen=True, slots=True)
class Expectation:
    """A limit on one figure, such as ``latency_p99_s`` below 1.

    :ivar relation: one of ``<``, ``<=``, ``==``, ``>=``, ``>``.
    """

    figure: str
    relation: str
    bound: float

    @property
    def limit(self) -> str:
        """The limit as it is written in a scenario."""
        return f"{self.relation} {self.bound:g}"

    def holds(self, figures: Mapping[str, Any]) -> bool:
        """Whether the figure keeps the limit; one that was not measured does not."""
        value = figures.get(self.figure)
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            return False
        match self.relation:
            case "<":
                return value < self.bound
            case "<=":
                return value <= self.bound
            case "==":
                return value == self.bound
            case ">=":
                return value >= self.bound
            case _:
                return value > self.bound


def read(table: Any, known: Sequence[str]) -> tuple[Expectation, ...]:
    """Read the table ``[expect]``: ``figure = "< 1.5"``, or ``figure = 0`` for equality.

    :param known: the figures that can be measured.
    :raises ConfigError: another figure, or not a limit.
    """
    if not isinstance(table, Mapping) or len(table) > MAX_EXPECTATIONS:
        raise ConfigError(f"expect is not a table of at most {MAX_EXPECTATIONS} limits")
    found = []
    for figure, limit in table.items():
        if figure not in known:
            raise ConfigError(f"expect.{figure[:40]!r} is not known; the figures are {', '.join(known)}")
        text = f"== {limit}" if type(limit) is int and abs(limit) < 10**12 else limit
        parts = _LIMIT.fullmatch(text) if isinstance(text, str) else None
        if parts is None:
            raise ConfigError(f'expect.{figure}: give a limit such as "< 1.5", ">= 1000" or 0')
        found.append(Expectation(figure, parts[1], float(parts[2])))
    return tuple(found)
