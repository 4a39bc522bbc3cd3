"""Two reports of an experiment: what got better or worse beyond noise (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from espeer.errors import InputError
from espeer.sim.experiments import estimates
from espeer.sim.experiments.estimates import Estimate
from espeer.sim.experiments.report import FORM

Verdict = Literal["better", "worse", "changed", "no difference seen", "too few to say", "not comparable"]

LEAST: Final = 6
"""Of fewer pairs nothing is said: that all of five go the same way happens by chance once in 16 times, too often for 95 %."""
_PAIRED: Final = "pairs"
_APART: Final = "intervals"


@dataclass(frozen=True, slots=True)
class Change:
    """A figure in two reports.

    :ivar difference: of the second over the first, with its interval; None where it was not measured in both.
    :ivar by: "pairs" where the same questions were asked; else "intervals" that must not touch.
    """

    name: str
    before: Estimate | None
    after: Estimate | None
    difference: Estimate | None
    by: str
    verdict: Verdict


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Compare every figure of two reports in JSON, in the order of the first.

    :raises InputError: they are not reports, or not of one experiment.
    """
    for report in (before, after):
        if report.get("form") != FORM or not isinstance(report.get("figures"), list):
            raise InputError("that is not the report of an experiment (result.json)")
    if before["name"] != after["name"]:
        raise InputError(f"these are reports of two experiments, {before['name']} and {after['name']}")
    one, other = ({figure["name"]: figure for figure in report["figures"]} for report in (before, after))
    return [_change(name, one.get(name), other.get(name)) for name in dict.fromkeys((*one, *other))]


def _change(name: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Change:
    if before is None or after is None:
        known = [None if figure is None else Estimate(**figure["estimate"]) for figure in (before, after)]
        return Change(name, known[0], known[1], None, "", "not comparable")
    one, other = Estimate(**before["estimate"]), Estimate(**after["estimate"])
    if _same_questions(before["outcomes"], after["outcomes"]):
        difference, by = estimates.difference(after["outcomes"], before["outcomes"]), _PAIRED
        apart = difference.low > 0 or difference.high < 0
    else:
        difference = Estimate(other.value - one.value, other.low - one.high, other.high - one.low, min(one.of, other.of))
        by, apart = _APART, one.high < other.low or other.high < one.low
    if min(one.of, other.of) < LEAST and one.value != other.value:
        return Change(name, one, other, difference, by, "too few to say")
    return Change(name, one, other, difference, by, _verdict(difference.value, apart=apart, better=after["better"]))


def _same_questions(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(one) and one.keys() == other.keys() and all(len(one[key]) == len(other[key]) for key in one)


def _verdict(difference: float, *, apart: bool, better: str) -> Verdict:
    if not apart:
        return "no difference seen"
    if not better:
        return "changed"
    return "better" if (difference > 0) == (better == "higher") else "worse"
