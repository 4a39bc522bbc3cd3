"""Runs a simulated fleet, and measures."""

import gc
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import trio
from trio.testing import MockClock

from espeer.errors import EspeerError
from espeer.records import load
from espeer.replica import REFINED
from espeer.sim import measure
from espeer.sim.measure import Life, Made, Row
from espeer.sim.virtual.fleet import Fleet, Member
from espeer.sim.virtual.plan import Event, Partition, Plan, events
from espeer.sim.virtual.profile import Profile
from espeer.tasks import cause, without_threads

JOIN_SECONDS: Final = 30.0
"""The nodes that are there from the beginning come within so many seconds."""
REST_SECONDS: Final = 60.0
"""So long after the last of them the work begins: the meshes stand by then."""
SETTLE_SECONDS: Final = 1800.0
"""So long after the end of the work all nodes must hold the same; the run ends when they do."""
_LOOK_SECONDS: Final = 1.0
_LEAST_LEFT: Final = 2
_HOUR: Final = 3600.0


class SimulationError(EspeerError):
    """A simulated fleet did not do what it should."""


def simulate(plan: Plan, profile: Profile, *, tell: Callable[[float], None] = lambda _: None) -> dict[str, Any]:
    """Run a fleet on a virtual clock; return what was measured, as JSON.

    :param tell: called with the simulated seconds that have passed, about once a minute.
    :raises SimulationError: it cannot be done.
    """
    try:
        with _rarely_collecting(), without_threads():
            found: dict[str, Any] = trio.run(_run, plan, profile, tell, clock=MockClock(autojump_threshold=0))
    except BaseExceptionGroup as group:
        raise cause(group) from group
    return found


@contextmanager
def _rarely_collecting() -> Iterator[None]:
    """Look for garbage seldom: there are millions of objects, most of which stay to the end."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


async def _run(plan: Plan, profile: Profile, tell: Callable[[float], None]) -> dict[str, Any]:
    cpu = time.process_time()
    async with trio.open_nursery() as nursery:
        fleet = Fleet(plan, profile, nursery)
        nursery.start_soon(fleet.network.run)
        await _join_all(fleet)
        began = trio.current_time()
        before = _traffic(fleet)
        nursery.start_soon(_tell_time, tell)
        async with trio.open_nursery() as work:
            for partition in plan.partitions:
                work.start_soon(_part, fleet, partition, began)
            for event in events(plan):
                await trio.sleep_until(began + event.at)
                work.start_soon(_do, fleet, event)
            await trio.sleep_until(began + plan.seconds)
        equal = await _settle(fleet)
        found = _measured(fleet, began=began, before=before, equal=equal)
        nursery.cancel_scope.cancel()
    return found | {
        "cpu_s": round(time.process_time() - cpu, 1),
        "rss_peak_mb": round(_peak_kb() / 1024, 1),
    }


def _peak_kb() -> int:
    """Return the most memory that this process had; what getrusage says of a child begins with what its parent had."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0])
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def _tell_time(tell: Callable[[float], None]) -> None:
    began = trio.current_time()
    while True:
        await trio.sleep(60)
        tell(trio.current_time() - began)


async def _join_all(fleet: Fleet) -> None:
    for number in range(fleet.plan.nodes):
        await trio.sleep_until(JOIN_SECONDS * number / fleet.plan.nodes)
        await fleet.start(fleet.new())
    await trio.sleep(REST_SECONDS)


async def _do(fleet: Fleet, event: Event) -> None:
    member = fleet.up[int(event.pick * len(fleet.up))]
    match event.what:
        case "learn":
            await fleet.learn(member, event.told.text, event.told.feedback)
        case "ask":
            await fleet.ask(member, f"{event.told.text} What now?")
        case "churn":
            if len(fleet.up) > _LEAST_LEFT:
                fleet.stop(member)
            await fleet.start(fleet.new())


async def _part(fleet: Fleet, partition: Partition, began: float) -> None:
    await trio.sleep_until(began + partition.at_s)
    first = {member.host for member in fleet.up[: round(partition.share * len(fleet.up))]}
    fleet.network.part(lambda one, other: (one in first) is not (other in first))
    await trio.sleep(partition.seconds)
    fleet.network.heal()


async def _settle(fleet: Fleet) -> bool:
    """Wait until nothing is left to be distilled, and all hold the same number of records; return whether that came."""
    with trio.move_on_after(SETTLE_SECONDS):
        while True:
            counts = {_count(member) for member in fleet.up}
            if len(counts) == 1 and not any(member.running._parts.learner.waiting for member in fleet.up):  # noqa: SLF001 - looked at from outside
                return True
            await trio.sleep(_LOOK_SECONDS)
    return False


# -- what it came to


def _count(member: Member) -> int:
    number: int = _rows(member, "SELECT count(*) FROM records WHERE via != ?", REFINED)[0][0]
    return number


def _rows(member: Member, query: str, *values: object) -> list[Any]:
    return member.running._parts.store.rows(query, values)  # noqa: SLF001 - it has no file that could be read beside it


def _life(member: Member) -> Life:
    query = "SELECT id, created, received, via, length(data) FROM records WHERE via != ?"
    return Life(member.name, member.up, alive=True, rows=[Row(*row) for row in _rows(member, query, REFINED)])


def _traffic(fleet: Fleet) -> Counter[str]:
    members = (*fleet.up, *fleet.gone)
    hosts = [member.host for member in members if member.host is not None]
    return Counter(
        sent=sum(host.bytes_sent for host in hosts),
        control=sum(host.control_sent for host in hosts),
        sync=sum(member.counters.sync_bytes_out for member in members),
        duplicates=sum(member.counters.duplicates for member in members),
    )


def _measured(fleet: Fleet, *, began: float, before: Mapping[str, int], equal: bool) -> dict[str, Any]:
    lives = [_life(member) for member in fleet.up]
    own = {row.id: Made(row.id, life.name) for life in lives for row in life.rows if row.via == measure.OWN}
    everything = {row.id: Made(row.id, "gone") for life in lives for row in life.rows} | own
    made = list(everything.values())
    hours = (trio.current_time() - began) / _HOUR
    after = _traffic(fleet)
    nodes = len(fleet.up)
    rows = [row for life in lives for row in life.rows]
    found = measure.replication(made, lives) | measure.latencies(made, lives)
    asks = [ms for member in (*fleet.up, *fleet.gone) for ms in member.asks]
    return (
        found
        | {
            "equal": equal,
            "convergence_s": _convergence(rows) if equal else None,
            "ttft_p50_ms": measure.percentile(asks, 0.5),
            "ttft_p99_ms": measure.percentile(asks, 0.99),
            "asks": len(asks),
            "failed": fleet.failed,
            "simulated_s": round(trio.current_time() - began, 1),
            "bytes_per_node_hour": round((after["sent"] - before["sent"]) / nodes / hours),
            "control_bytes_per_node_hour": round((after["control"] - before["control"]) / nodes / hours),
            "sync_bytes_per_node_hour": round((after["sync"] - before["sync"]) / nodes / hours),
            "duplicates": after["duplicates"] - before["duplicates"],
            "replica_records": round(len(rows) / nodes, 1),
            "replica_bytes": round(sum(_database_bytes(member) for member in fleet.up) / nodes),
            "model_busy": round(sum(m.model.busy for m in fleet.up if m.model) / nodes / (trio.current_time() or 1), 5),
        }
        | _refinement(fleet)
    )


def _convergence(rows: list[Row]) -> float | None:
    """Return the seconds from the last record that was made until it, and every other, was everywhere."""
    if not rows:
        return None
    return (max(row.received for row in rows) - max(row.created for row in rows)) / 1000


def _database_bytes(member: Member) -> int:
    return int(_rows(member, "PRAGMA page_count")[0][0]) * int(_rows(member, "PRAGMA page_size")[0][0])


def _refinement(fleet: Fleet) -> dict[str, Any]:
    """Count on how many nodes the same group, of the same original experiences, was condensed or merged."""
    groups: Counter[frozenset[bytes]] = Counter()
    active = []
    for member in fleet.up:
        for (data,) in _rows(member, "SELECT data FROM records WHERE via = ? AND length(data) > 0", REFINED):
            groups[frozenset(getattr(load(data).record, "sources", ()))] += 1
        active.append(_rows(member, "SELECT coalesce(sum(records), 0) FROM tally WHERE state = 'active'")[0][0])
    condensed = groups.total()
    return {
        "condensed": condensed,
        "condensed_distinct": len(groups),
        "condensed_on_nodes": round(condensed / len(groups), 3) if groups else None,
        "active": round(sum(active) / len(active), 1),
    }
