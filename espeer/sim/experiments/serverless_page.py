"""The report of the experiment "serverless or server" as it grows (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from espeer.sim.experiments.estimates import Estimate, Outcomes
from espeer.sim.experiments.report import Better, Figure, Plot, Table, measured
from espeer.sim.experiments.serverless_found import Kind, Measured
from espeer.sim.experiments.settings import Serverless

NAMES: Final[dict[Kind, str]] = {"p2p": "peer to peer", "server": "client-server"}


@dataclass(slots=True)
class Page:
    """The report as it grows."""

    settings: Serverless
    found: Measured
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)

    def note(self, name: str, estimate: Estimate, better: Better) -> Estimate:
        """Take in a figure; return its estimate."""
        self.figures.append(Figure(name, estimate, better))
        return estimate

    def measure(self, name: str, outcomes: Outcomes, better: Better) -> Estimate:
        """Take in the mean of what came of each question, or run; return its estimate."""
        self.figures.append(measured(name, outcomes, better=better))
        return self.figures[-1].estimate


def of_both(
    one: Mapping[str, Mapping[str, float]], other: Mapping[str, Mapping[str, float]]
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return what was waited for the questions that both answered, by volley, in the same order."""
    both = {volley: sorted(one[volley].keys() & other[volley].keys()) for volley in sorted(one.keys() & other.keys())}
    return tuple(
        {volley: [side[volley][key] for key in keys] for volley, keys in both.items() if keys} for side in (one, other)
    )  # type: ignore[return-value] # of two there are two
