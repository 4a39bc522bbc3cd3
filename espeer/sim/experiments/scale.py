"""At scale: fleets of the real node on a virtual clock, from ten nodes to a thousand, and how true that is.

Each fleet is simulated in a process of its own (:mod:`espeer.sim.virtual`). Beside them a small fleet of real processes with
the real model is put through the same as a simulated one of its size, on costs that were measured right before.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from espeer.errors import InputError
from espeer.llm.cores import usable_cores
from espeer.sim.experiments import scale_report
from espeer.sim.experiments.journal import digest
from espeer.sim.experiments.report import Report
from espeer.sim.experiments.settings import Scale
from espeer.sim.experiments.work import Work
from espeer.sim.virtual import plan, profile, real
from espeer.sim.virtual.plan import Partition, Plan
from espeer.sim.virtual.process import simulated

_HOUR: Final = 60


async def run(settings: Scale, work: Work) -> Report:
    """Simulate what was not simulated before, and return what all of it came to.

    :raises InputError: there is no such profile.
    :raises ConfigError: the file is none.
    """
    costs = _profile(settings.profile)
    found = await _fleets(settings, work, costs.as_json())
    pairs = [await _pair(settings, work, seed) for seed in settings.seeds] if settings.real else []
    return scale_report.make(settings, costs, found, pairs)


async def _fleets(settings: Scale, work: Work, costs: Mapping[str, Any]) -> dict[int, list[Mapping[str, Any]]]:
    """Simulate all fleets, the largest first, one for each core at a time; return what came of them by their size."""
    waiting = [(nodes, seed) for nodes in sorted(settings.nodes) for seed in reversed(settings.seeds)]
    found: dict[tuple[int, int], Mapping[str, Any]] = {}

    async def take() -> None:
        while waiting:
            nodes, seed = waiting.pop()
            found[nodes, seed] = await _simulate(work, f"{nodes} nodes, seed {seed}", _plan(settings, nodes, seed), costs)

    async with trio.open_nursery() as nursery:
        for _ in range(usable_cores()):
            nursery.start_soon(take)
    return {nodes: [found[nodes, seed] for seed in settings.seeds] for nodes in settings.nodes}


def _profile(path: str) -> profile.Profile:
    if not path:
        return profile.shipped()
    try:
        return profile.parse(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeError) as error:
        raise InputError(f"cannot read the profile {path}: {error}; see `espeer model bench --profile`") from error


async def _simulate(work: Work, key: str, wanted: Plan, costs: Mapping[str, Any]) -> Mapping[str, Any]:
    with work.phase(f"{key}: minutes simulated", round(wanted.minutes)) as tick:
        make = partial(simulated, wanted, profile=costs, tick=tick)
        found: Mapping[str, Any] = await work.once(f"{key}, on {digest(costs)}", make)
    return found


def _plan(settings: Scale, nodes: int, seed: int) -> Plan:
    return Plan(
        nodes=nodes,
        seed=seed,
        minutes=settings.minutes,
        latency_ms=settings.latency_ms,
        latency_spread=settings.latency_spread,
        loss=settings.loss,
        mbit=settings.mbit,
        hop_ms=settings.hop_ms,
        learns_per_minute=settings.learns_per_minute,
        asks_per_minute=settings.asks_per_minute,
        churn_per_minute=settings.churn * nodes / _HOUR,
        repeats=settings.repeats,
        refine_after=settings.refine_after,
        repair_interval=settings.repair_interval,
        warming=settings.warming,
        cores=0,
        partitions=tuple(Partition(one.at_s, one.seconds, one.share) for one in settings.partitions),
    )


async def _pair(settings: Scale, work: Work, seed: int) -> Mapping[str, Any]:
    """Put real processes and simulated nodes through the same; return what was measured of both."""
    with work.phase(f"{settings.real} real nodes, seed {seed}", 2) as tick:
        costs = await work.once("costs", partial(trio.to_thread.run_sync, real.costs, settings.model))
        tick()
        wanted = plan.on_this_machine(
            _plan(settings, settings.real, seed),
            minutes=settings.real_minutes,
            learns_per_minute=settings.real_learns_per_minute,
            asks_per_minute=settings.real_asks_per_minute,
            hop_ms=costs["hop_ms"],
            cores=costs["cores"],
        )
        key = f"{settings.real} real nodes, seed {seed}"
        measured = await work.once(key, partial(trio.to_thread.run_sync, real.perform, wanted, settings.model))
        tick()
    played = await _simulate(work, f"{settings.real} nodes in their place, seed {seed}", wanted, costs["profile"])
    return {"real": measured, "simulated": played, "hop_ms": costs["hop_ms"]}
