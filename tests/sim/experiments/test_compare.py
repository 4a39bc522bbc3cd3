"""What got better or worse beyond noise."""

import json
from typing import Any

import pytest

from espeer.errors import InputError
from espeer.sim.experiments.compare import compare
from espeer.sim.experiments.report import Better, Report, Table, measured


def report(right: dict[str, list[float]], *, better: Better = "higher", name: str = "x") -> dict[str, Any]:
    made = Report(name, {"model": "m"}, (measured("accuracy", right, better=better),), (Table("t", ("a|b",), (("c",),)),))
    found: dict[str, Any] = json.loads(json.dumps(made.as_json()))
    return found


def outcomes(right: int, of: int = 100, prefix: str = "") -> dict[str, list[float]]:
    return {f"{prefix}{number}": [float(number < right)] for number in range(of)}


@pytest.mark.parametrize(
    ("before", "after", "better", "by", "verdict"),
    [
        (outcomes(50), outcomes(60), "higher", "pairs", "better"),
        (outcomes(60), outcomes(50), "higher", "pairs", "worse"),
        (outcomes(50), outcomes(60), "lower", "pairs", "worse"),
        (outcomes(50), outcomes(60), "", "pairs", "changed"),
        (outcomes(50), outcomes(50), "higher", "pairs", "no difference seen"),
        (outcomes(50), outcomes(60, prefix="o"), "higher", "intervals", "no difference seen"),
        (outcomes(20), outcomes(80, prefix="o"), "higher", "intervals", "better"),
        (outcomes(0, of=5), outcomes(5, of=5), "higher", "pairs", "too few to say"),
        (outcomes(0, of=6), outcomes(6, of=6), "higher", "pairs", "better"),
        (outcomes(5, of=5), outcomes(5, of=5), "higher", "pairs", "no difference seen"),
    ],
)
def test_verdicts(before: dict[str, list[float]], after: dict[str, list[float]], better: Better, by: str, verdict: str) -> None:
    (change,) = compare(report(before), report(after, better=better))
    assert (change.by, change.verdict) == (by, verdict)


def test_a_figure_of_one_side_only_is_told_of() -> None:
    one, other = report(outcomes(5)), report(outcomes(5))
    other["figures"][0]["name"] = "else"
    assert [change.verdict for change in compare(one, other)] == ["not comparable", "not comparable"]


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(InputError, match="not the report"):
        compare({}, report(outcomes(5)))
    with pytest.raises(InputError, match="two experiments"):
        compare(report(outcomes(5)), report(outcomes(5), name="y"))


def test_a_page_has_its_command_and_its_tables() -> None:
    made = Report("x", {"model": "m", "seeds": (1, 2)}, (), (Table("T", ("a|b",), (("c\nd",),)),), notes=("so it is",))
    assert made.as_markdown(command="espeer sim run x.toml", machine={"cores": 2}) == (
        "    espeer sim run x.toml\n\nmodel: m; seeds: 1, 2; cores: 2\n\n**T**\n\n| a\\|b |\n| --- |\n| c d |\n\n- so it is\n"
    )
