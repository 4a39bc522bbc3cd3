"""Scenarios: what a fleet is put through and what is expected of it, read from TOML (pure). docs/scenarios.md has every key."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from espeer.errors import ConfigError
from espeer.sim import expectation, reading
from espeer.sim.expectation import Expectation
from espeer.sim.measure import FIGURES
from espeer.sim.reading import build, number, text, texts

MAX_NODES: Final = 64
MAX_STEPS: Final = 32
MAX_SECONDS: Final = 3600.0
MAX_RECORDS: Final = 1_000_000
ATTACKS: Final = ("garbage", "oversized", "ihave", "forged", "wrong-type", "replay", "slow-reader", "streams")

_NODE: Final = r"n[1-9][0-9]{0,2}"
_TYPE: Final = r"[a-z0-9-]{1,32}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """The fleet: nodes n1, n2, and so on. All join through n1; one that a step starts is not there from the beginning.

    :ivar count: how many, those included that are started later.
    :ivar types: the types that every node holds.
    :ivar repair_interval: their ``--repair-interval``, seconds.
    :ivar refining: have them refine.
    :ivar options: more options of `espeer node`, for all of them.
    :ivar rest: seconds between the last node's being up and the first step.
    """

    count: int = number(1, MAX_NODES)
    types: tuple[str, ...] = texts(_TYPE, 16, ("sim",))
    repair_interval: float = number(0.1, MAX_SECONDS, 20.0)
    refining: bool = False
    options: tuple[str, ...] = texts(r"[ -~]{1,200}", 32, ())
    rest: float = number(0, 60, 3.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeded:
    """Records that are there before anything starts, the same on each of these nodes.

    :ivar records: how many.
    :ivar nodes: the nodes that hold them.
    :ivar authors: by how many authors.
    """

    records: int = number(1, MAX_RECORDS)
    nodes: tuple[str, ...] = texts(_NODE, MAX_NODES)
    authors: int = number(1, 1000, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something that happens. Steps may overlap.

    :ivar at: seconds after the start of the scenario.
    """

    at: float = number(0, MAX_SECONDS, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Learn(Step):
    """Nodes learn, in turn: each record is acknowledged when `learn` with ``wait`` returned.

    :ivar seconds: for how long.
    :ivar per_second: records a second, by all nodes together.
    :ivar nodes: which; none given: all that are up.
    """

    seconds: float = number(0.1, MAX_SECONDS)
    per_second: float = number(0.01, 1000)
    nodes: tuple[str, ...] = texts(_NODE, MAX_NODES, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst(Step):
    """Nodes learn all at once.

    :ivar each: how many records each node makes.
    :ivar nodes: which; none given: all that are up.
    """

    each: int = number(1, 100_000)
    nodes: tuple[str, ...] = texts(_NODE, MAX_NODES, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Start(Step):
    """A node is started, which is not there from the beginning.

    :ivar node: which.
    """

    node: str = text(_NODE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall(Step):
    """A node is asked again and again for what fits a query, from the moment that it is up.

    :ivar node: which.
    :ivar seconds: for how long.
    :ivar every: seconds between two questions.
    """

    node: str = text(_NODE)
    seconds: float = number(0.1, MAX_SECONDS)
    every: float = number(0.01, 60, 0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition(Step):
    """The first nodes and the others cannot reach each other: connections between them are cut, and none are made.

    :ivar seconds: until it heals.
    :ivar first: the nodes n1 to n``first`` are on one side.
    """

    seconds: float = number(0.1, MAX_SECONDS)
    first: int = number(1, MAX_NODES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Churn(Step):
    """Again and again a node is killed (SIGKILL) and another, new one joins.

    :ivar seconds: for how long.
    :ivar every: seconds between two kills.
    :ivar bootstrap_at: at this many seconds (after the scenario's start) n1 is the one killed; before, it is spared.
    """

    seconds: float = number(0.1, MAX_SECONDS)
    every: float = number(0.5, MAX_SECONDS)
    bootstrap_at: float | None = number(0, MAX_SECONDS, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack(Step):
    """A hostile peer attacks a node, see :mod:`espeer.sim.attacker`.

    :ivar kind: one of :data:`ATTACKS`.
    :ivar target: which node.
    :ivar seconds: for how long.
    """

    kind: str = text("|".join(ATTACKS))
    target: str = text(_NODE, "n1")
    seconds: float = number(0.1, MAX_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch(Step):
    """Nothing is done; what sync costs in this time is measured.

    :ivar seconds: for how long.
    """

    seconds: float = number(0.1, MAX_SECONDS)


STEPS: Final[dict[str, type[Step]]] = {
    "learn": Learn,
    "burst": Burst,
    "start": Start,
    "recall": Recall,
    "partition": Partition,
    "churn": Churn,
    "attack": Attack,
    "watch": Watch,
}
"""The steps by what a scenario calls them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a scenario has besides its steps and what it expects.

    :ivar seed: of everything random that the runner decides.
    :ivar settle: the most seconds after the last step until all nodes must hold the same; the run ends when they do.
    """

    name: str = text(r"[a-z0-9-]{1,64}")
    about: str = text(r"[^\x00-\x1f]{1,400}")
    seed: int = number(0, 2**32)
    settle: float = number(0, MAX_SECONDS, 60.0)
    nodes: Nodes
    seeded: Seeded | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario(Setting):
    """What a fleet is put through."""

    steps: tuple[Step, ...]
    expect: tuple[Expectation, ...]

    @property
    def late(self) -> frozenset[str]:
        """The nodes that a step starts."""
        return frozenset(step.node for step in self.steps if isinstance(step, Start))

    @property
    def partitioned(self) -> bool:
        """Whether connections between nodes must be in the runner's hands."""
        return any(isinstance(step, Partition) for step in self.steps)


def parse(document: str, *, quick: bool = False) -> Scenario:
    """Read a scenario.

    :param quick: take its smaller form: what ``[quick]`` holds stands in place of what the rest of the file says.
    :raises ConfigError: it is not TOML, or breaks a rule; the message names the key.
    """
    return reading.parse(document, _read, quick=quick)


def _read(table: Mapping[str, Any]) -> Scenario:
    apart = {"steps", "expect"}
    setting = build(Setting, {key: value for key, value in table.items() if key not in apart}, "")
    steps = table.get("steps")
    if not isinstance(steps, list) or not 1 <= len(steps) <= MAX_STEPS:
        raise ConfigError(f"steps: give 1 to {MAX_STEPS} tables [[steps]]")
    scenario = Scenario(
        **{name: getattr(setting, name) for name in Setting.__dataclass_fields__},
        steps=tuple(_step(step, f"steps[{place}]") for place, step in enumerate(steps)),
        expect=expectation.read(table.get("expect"), FIGURES),
    )
    _check(scenario)
    return scenario


def _step(table: Any, path: str) -> Step:
    kind = table.get("do") if isinstance(table, Mapping) else None
    if not isinstance(kind, str) or kind not in STEPS:
        raise ConfigError(f"{path}.do: give one of {', '.join(STEPS)}")
    return build(STEPS[kind], {key: value for key, value in table.items() if key != "do"}, path)


def _check(scenario: Scenario) -> None:
    """See that the parts fit each other."""
    there = {f"n{number}" for number in range(1, scenario.nodes.count + 1)}
    for where, name in _named(scenario):
        if name not in there:
            raise ConfigError(f"{where} names {name}, but the nodes are n1 to n{scenario.nodes.count}")
    starts = [step.node for step in scenario.steps if isinstance(step, Start)]
    if len(set(starts)) != len(starts) or "n1" in starts:
        raise ConfigError("steps: each node is started once, and n1, through which all join, at the beginning")
    for place, step in enumerate(scenario.steps):
        if isinstance(step, Partition) and step.first >= scenario.nodes.count:
            raise ConfigError(f"steps[{place}].first leaves nobody on the other side; give 1 to {scenario.nodes.count - 1}")
        if isinstance(step, Learn) and step.seconds * step.per_second > MAX_RECORDS:
            raise ConfigError(f"steps[{place}] makes more than {MAX_RECORDS:,} records")


def _named(scenario: Scenario) -> Iterator[tuple[str, str]]:
    if scenario.seeded:
        yield from (("seeded.nodes", name) for name in scenario.seeded.nodes)
    for place, step in enumerate(scenario.steps):
        match step:
            case Learn(nodes=names) | Burst(nodes=names):
                yield from ((f"steps[{place}].nodes", name) for name in names)
            case Start(node=name) | Recall(node=name):
                yield f"steps[{place}].node", name
            case Attack(target=name):
                yield f"steps[{place}].target", name
            case _:
                pass
