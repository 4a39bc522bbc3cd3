"""What a simulated fleet is put through, and when what happens (pure)."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

from espeer.sim.texts import Report, report

_WORDINGS: Final = ("", "Again: ", "In the morning: ", "Twice since noon: ", "Seen by the night shift: ", "Reported by phone: ")

What = Literal["learn", "ask", "churn"]


@dataclass(frozen=True, slots=True)
class Partition:
    """A time without a way between some of the nodes and the others.

    :ivar at_s: seconds after the start, and ``seconds`` for how long.
    :ivar share: of the nodes, on the one side.
    """

    at_s: float
    seconds: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A fleet and its work; see :class:`espeer.sim.experiments.settings.Scale` for what each means."""

    nodes: int
    seed: int
    minutes: float
    latency_ms: float
    latency_spread: float
    loss: float
    mbit: float
    hop_ms: float
    learns_per_minute: float
    asks_per_minute: float
    churn_per_minute: float
    repeats: float
    refine_after: int
    repair_interval: float
    warming: bool
    cores: int
    partitions: tuple[Partition, ...]

    @property
    def seconds(self) -> float:
        """How long there is work."""
        return self.minutes * 60

    @property
    def faults(self) -> int:
        """How many different faults there are to learn of."""
        return max(1, round(self.minutes * self.learns_per_minute / self.repeats))

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def on_this_machine(
    plan: Plan, *, minutes: float, learns_per_minute: float, asks_per_minute: float, hop_ms: float, cores: int
) -> Plan:
    """Return a plan of other work for as many nodes on one machine of so many cores, with nothing but its loopback between."""
    return replace(
        plan,
        minutes=minutes,
        learns_per_minute=learns_per_minute,
        asks_per_minute=asks_per_minute,
        hop_ms=hop_ms,
        cores=cores,
        latency_ms=0.0,
        latency_spread=0.0,
        loss=0.0,
        mbit=100_000.0,
        churn_per_minute=0.0,
        partitions=(),
    )


def read(table: Mapping[str, Any]) -> Plan:
    """Read the JSON form."""
    return Plan(**{**table, "partitions": tuple(Partition(**one) for one in table["partitions"])})


@dataclass(frozen=True, slots=True)
class Event:
    """Something to do.

    :ivar at: seconds after the start.
    :ivar pick: whose turn it is: this share of the way through the nodes that are there.
    :ivar told: what is learnt, or asked about.
    """

    at: float
    what: What
    pick: float
    told: Report


def events(plan: Plan) -> list[Event]:
    """Return what happens in the order of its time: as often as the plan says on average, at times by chance (Poisson)."""
    return sorted(_events(plan), key=lambda event: event.at)


def _events(plan: Plan) -> Iterator[Event]:
    rates: dict[What, float] = {
        "learn": plan.learns_per_minute,
        "ask": plan.asks_per_minute,
        "churn": plan.churn_per_minute,
    }
    for what, rate in rates.items():
        rng = random.Random(f"{plan.seed} {what}")  # noqa: S311 - nothing secret
        for at in sorted(rng.uniform(0, plan.seconds) for _ in range(round(plan.minutes * rate))):
            yield Event(at, what, rng.random(), _told(plan, rng))


def _told(plan: Plan, rng: random.Random) -> Report:
    """Tell of one of the faults, in one of some wordings: what is alike is there to be condensed."""
    found = report(rng.randrange(plan.faults), plan.seed)
    return Report(f"{rng.choice(_WORDINGS)}{found.text}", found.feedback)
