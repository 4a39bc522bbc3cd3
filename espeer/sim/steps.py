"""How each step of a scenario is done."""

import json
import math
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import trio

from espeer.errors import ControlError
from espeer.sim import processes, stores
from espeer.sim.fleet import Device, FleetError
from espeer.sim.measure import OWN, Cut, Made, Recalled
from espeer.sim.members import NETWORK, Member, Members, now_ms
from espeer.sim.scenario import Attack, Burst, Churn, Learn, Partition, Recall, Scenario, Start, Step, Watch
from espeer.sim.texts import report

CALM_SECONDS: Final = 5.0
"""After an attack: what a node uses in this time is what the attack left behind."""
_ATTACKER_EXTRA: Final = 60.0
_LEAST_ALIVE: Final = 2
_K: Final = 3


@dataclass(slots=True)
class Course:
    """What happened so far.

    :ivar made: the records that were acknowledged, or there before the start.
    :ivar unacknowledged: requests to learn that failed, because the node was killed, say.
    :ivar burst: milliseconds, when the first burst began.
    :ivar cut: the last partition, once it has ended.
    :ivar recalls: the queries that were asked.
    :ivar watched: the nodes' counters before and after a step ``watch``.
    :ivar attacks: what each attack did and cost.
    """

    made: list[Made] = field(default_factory=list)
    unacknowledged: int = 0
    burst: int | None = None
    cut: Cut | None = None
    kills: int = 0
    joins: int = 0
    recalls: list[Recalled] = field(default_factory=list)
    watched: tuple[list[Any], list[Any]] | None = None
    attacks: list[dict[str, Any]] = field(default_factory=list)


class Steps:
    """Does the steps of a scenario with its members."""

    def __init__(self, scenario: Scenario, members: Members, course: Course) -> None:
        self._scenario = scenario
        self._members = members
        self._course = course
        self._rng = random.Random(scenario.seed)  # noqa: S311 - who is killed, what is asked
        self._numbers = count()
        self._joiners = count(scenario.nodes.count + 1)
        self._began = 0.0

    async def run(self) -> None:
        """Do all steps, each at its time.

        :raises FleetError: one cannot be done.
        """
        self._began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for step in self._scenario.steps:
                nursery.start_soon(self._do, step)

    async def _do(self, step: Step) -> None:
        await trio.sleep_until(self._began + step.at)
        ways: dict[type[Step], Callable[[Any], Awaitable[None]]] = {
            Learn: self._learn,
            Burst: self._burst,
            Start: self._start,
            Recall: self._recall,
            Partition: self._partition,
            Churn: self._churn,
            Attack: self._attack,
            Watch: self._watch,
        }
        await ways[type(step)](step)

    async def _learn(self, step: Learn) -> None:
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number in range(max(1, round(step.seconds * step.per_second))):
                await trio.sleep_until(began + number / step.per_second)
                if up := self._members.alive(step.nodes):
                    nursery.start_soon(self._learn_one, up[number % len(up)])

    async def _learn_one(self, member: Member) -> None:
        params = _params(next(self._numbers), self._scenario)
        try:
            learnt = await member.ask("learn", **params, wait=True)
        except (ControlError, FleetError):
            learnt = {"experience": None}
        if learnt["experience"]:
            self._course.made.append(Made(bytes.fromhex(learnt["experience"]), member.name))
        else:
            self._course.unacknowledged += 1

    async def _burst(self, step: Burst) -> None:
        members = self._members.alive(step.nodes)
        shares = [(member, [_params(next(self._numbers), self._scenario) for _ in range(step.each)]) for member in members]
        began = now_ms()
        self._course.burst = self._course.burst or began
        async with trio.open_nursery() as nursery:
            for member, share in shares:
                nursery.start_soon(self._burst_of, member, share, began)

    async def _burst_of(self, member: Member, share: Sequence[dict[str, str]], began: int) -> None:
        def learn_all(device: Device) -> list[Made]:
            for params in share:
                device.ask("learn", **params)
            device.ask("flush")
            own = [row.id for row in stores.rows(device.data) if row.via == OWN and row.created >= began]
            return [Made(id_, member.name) for id_ in own]

        made = await trio.to_thread.run_sync(learn_all, member.device, abandon_on_cancel=True)
        self._course.made += made
        self._course.unacknowledged += max(0, len(share) - len(made))

    async def _start(self, step: Start) -> None:
        await self._members.start(step.node, bootstrap=[self._members.all["n1"].address])
        self._course.joins += 1

    async def _recall(self, step: Recall) -> None:
        member = await self._members.get(step.node)
        until = trio.current_time() + step.seconds
        known = self._scenario.seeded.records if self._scenario.seeded else 1000
        while trio.current_time() < until:
            query = report(self._rng.randrange(known), self._scenario.seed).text
            asked, began = now_ms(), time.monotonic()
            found = await member.ask("recall", query=query, k=_K)
            self._course.recalls.append(Recalled(step.node, asked, time.monotonic() - began, len(found)))
            await trio.sleep(step.every)

    async def _partition(self, step: Partition) -> None:
        first = frozenset(f"n{number}" for number in range(1, step.first + 1))
        self._members.proxies.cut(first, self._members.all.keys() - first)
        began = now_ms()
        await trio.sleep(step.seconds)
        healed = now_ms()
        self._members.proxies.heal()
        self._course.cut = Cut(began, healed, first)

    async def _churn(self, step: Churn) -> None:
        first = trio.current_time()
        spare = math.inf if step.bootstrap_at is None else self._began + step.bootstrap_at
        async with trio.open_nursery() as nursery:
            for turn in range(1, int(step.seconds / step.every) + 1):
                await trio.sleep_until(first + turn * step.every)
                up = self._members.alive()
                oldest = [member for member in up if member.name == "n1" and trio.current_time() >= spare]
                victims = oldest or [member for member in up if member.name != "n1"]
                if len(up) <= _LEAST_ALIVE or not victims:
                    raise FleetError("nodes start more slowly than they are killed; give `every` more seconds")
                await self._members.kill(self._rng.choice(victims))
                self._course.kills += 1
                nursery.start_soon(self._join, f"n{next(self._joiners)}")

    async def _join(self, name: str) -> None:
        """Start a node that was told of n1, as all are, and of one more, which lives now."""
        other = self._rng.choice(self._members.alive())
        await self._members.start(name, bootstrap=[self._members.all["n1"].address, other.address])
        self._course.joins += 1

    async def _attack(self, step: Attack) -> None:
        member = await self._members.get(step.target)
        command = [sys.executable, "-m", "espeer.sim.attacker", "--target", member.address, "--kind", step.kind]
        seed = self._scenario.seed + self._scenario.steps.index(step)  # each attack comes from peers of its own
        command += ["--seed", str(seed), "--seconds", f"{step.seconds:g}"]
        command += ["--network", NETWORK, "--type", self._scenario.nodes.types[0]]
        began = trio.current_time()
        said = await _report(command, step.seconds + _ATTACKER_EXTRA, self._members.folder(f"attacker-{step.kind}"))
        ended = trio.current_time()
        await trio.sleep(CALM_SECONDS)
        self._course.attacks.append(_cost(step.kind, member, began, ended) | {"attacker": said})

    async def _watch(self, step: Watch) -> None:
        before = await self._members.counters()
        await trio.sleep(step.seconds)
        after = await self._members.counters()
        both = before.keys() & after.keys()
        self._course.watched = ([before[name] for name in both], [after[name] for name in both])


def _params(number: int, scenario: Scenario) -> dict[str, str]:
    """What `learn` is given; numbers of what is seeded are not used again."""
    seeded = scenario.seeded.records if scenario.seeded else 0
    told = report(seeded + number, scenario.seed)
    return {"text": told.text, "feedback": told.feedback, "type": scenario.nodes.types[number % len(scenario.nodes.types)]}


async def _report(command: Sequence[str], seconds: float, folder: Path) -> Any:
    """Run an attacker; return the JSON that its last line is.

    :raises FleetError: it fails, or does not end.
    """
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240 - takes no time
    with (folder / "log").open("ab") as log, trio.move_on_after(seconds):
        done = await trio.run_process(command, capture_stdout=True, stderr=log, check=False)
        try:
            return json.loads(done.stdout.splitlines()[-1])
        except (ValueError, IndexError) as error:
            raise FleetError(f"the attacker ended with code {done.returncode}; see {folder / 'log'}") from error
    raise FleetError(f"the attacker did not end; see {folder / 'log'}")


def _cost(kind: str, member: Member, began: float, ended: float) -> dict[str, Any]:
    """What an attack cost its target: memory over what it had, and shares of a core during the attack and after it."""
    before = processes.peak_mb(member.samples, began - CALM_SECONDS, began)
    peak = processes.peak_mb(member.samples, began, ended + CALM_SECONDS)
    return {
        "kind": kind,
        "seconds": round(ended - began, 1),
        "rss_growth_mb": None if before is None or peak is None else round(max(0.0, peak - before), 1),
        "rss_peak_mb": _rounded(peak),
        "cpu": _rounded(processes.cpu_share(member.samples, began, ended)),
        "cpu_after": _rounded(processes.cpu_share(member.samples, ended, ended + CALM_SECONDS)),
        "alive": member.alive,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
