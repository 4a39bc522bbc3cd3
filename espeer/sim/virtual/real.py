"""Real processes with the real model, put through what a simulated fleet is: how true a simulation is.

Blocks: for a thread.
"""

import contextlib
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from espeer.llm import weights
from espeer.llm.cores import usable_cores
from espeer.sim import measure, stores
from espeer.sim.fleet import Device, Fleet, FleetError
from espeer.sim.measure import OWN, Life, Made
from espeer.sim.texts import report
from espeer.sim.virtual.fleet import FRIENDS
from espeer.sim.virtual.measuring import measure as measure_profile
from espeer.sim.virtual.plan import Event, Plan, events

THREADS: Final = 1
"""Each model runs with so many threads: there are more nodes than cores."""
_TRIES: Final = 15
"""So many records go from one node to another, and so many questions are asked, to see what a hop and an answer take."""
_PAUSE_SECONDS: Final = 0.5
_REST_SECONDS: Final = 20.0
_SETTLE_SECONDS: Final = 120.0
_WAIT_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.2


def costs(model: str) -> dict[str, Any]:
    """Measure what a simulation needs to know of this machine: the model's profile, and a hop between two nodes.

    :param model: as `espeer node --model`; empty for the default model.
    """
    profile = measure_profile(weights.optimised(weights.resolve(model or None)), threads=THREADS).as_json()
    with _nodes(2, model, seed=0) as (one, other):
        for number in range(_TRIES):
            told = report(number, 0)
            one.ask("learn", text=told.text, feedback=told.feedback, wait=True)
            time.sleep(_PAUSE_SECONDS)
        _equal([one, other])
        timings = [other.ask("ask", question=f"{report(number, 0).text} What now?")["timing"] for number in range(_TRIES)]
        hops = [row.received - row.created for row in stores.rows(other.data)]
    beside = statistics.median(sum(one.values()) - one["prefill"] for one in timings)
    profile["answer_ms"] += round(beside, 3)
    return {"profile": profile, "hop_ms": float(statistics.median(hops)), "cores": usable_cores()}


def perform(plan: Plan, model: str) -> dict[str, Any]:
    """Put real processes through a plan; return what was measured, as :func:`espeer.sim.virtual.run.simulate` does.

    :raises FleetError: they do not do what they should.
    """
    with _nodes(plan.nodes, model, seed=plan.seed, plan=plan) as devices:
        ups = {device.name: time.time_ns() // 1_000_000 for device in devices}
        time.sleep(_REST_SECONDS)
        asks = _work(plan, devices)
        _equal(devices)
        lives = [Life(device.name, ups[device.name], alive=True, rows=stores.rows(device.data)) for device in devices]
    made = [Made(row.id, life.name) for life in lives for row in life.rows if row.via == OWN]
    return (
        measure.replication(made, lives)
        | measure.latencies(made, lives)
        | {
            "ttft_p50_ms": measure.percentile(asks, 0.5),
            "ttft_p99_ms": measure.percentile(asks, 0.99),
            "asks": len(asks),
        }
    )


def _work(plan: Plan, devices: Sequence[Device]) -> list[float]:
    """Do what the plan says at its time; return the milliseconds to the first token of each answer."""
    began = time.monotonic()
    done: list[tuple[str, Future[Any]]] = []
    with ThreadPoolExecutor(max_workers=64) as pool:
        for event in events(plan):
            time.sleep(max(0.0, began + event.at - time.monotonic()))
            done.append((event.what, pool.submit(_do, devices[int(event.pick * len(devices))], event)))
    found = [(what, one.result()) for what, one in done]  # what failed is raised here
    return [one["ttft_ms"] for what, one in found if what == "ask"]


def _do(device: Device, event: Event) -> Any:
    if event.what == "ask":
        return device.ask("ask", question=f"{event.told.text} What now?")
    return device.ask("learn", text=event.told.text, feedback=event.told.feedback)


def _equal(devices: Sequence[Device]) -> None:
    """Wait until nothing is left to be distilled and all hold the same number of records."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < deadline:
        learnt = all(device.ask("status")["learning"] == 0 for device in devices)
        if learnt and len({stores.count(device.data) for device in devices}) == 1:
            return
        time.sleep(_POLL_SECONDS)
    raise FleetError(f"the nodes do not hold the same after {_SETTLE_SECONDS:.0f} s")


@contextlib.contextmanager
def _nodes(count: int, model: str, *, seed: int, plan: Plan | None = None) -> Iterator[list[Device]]:
    """Run nodes that know each other for the length of the block."""
    options = ["--episode-size", "1", "--network", "sim", "--no-http", "--type", "general", "--threads", str(THREADS)]
    options += ["--model", model] if model else []
    options += [] if plan and plan.warming else ["--no-warming"]
    options += ["--refine-after", str(plan.refine_after), "--repair-interval", f"{plan.repair_interval:g}"] if plan else []
    rng = random.Random(seed)  # noqa: S311 - who knows whom
    with tempfile.TemporaryDirectory(prefix="espeer-sim-scale-") as folder, Fleet(Path(folder)) as fleet:
        devices: list[Device] = []
        addresses: list[str] = []
        for number in range(count):
            friends = rng.sample(addresses, min(FRIENDS, len(addresses)))
            device = fleet.start(f"n{number + 1}", *options, bootstrap=friends)
            addresses.append(device.await_up()["addresses"][0])
            devices.append(device)
        for device in devices:
            device.await_status(_WAIT_SECONDS, lambda status: status["peers"] >= min(FRIENDS, count - 1))
        yield devices
