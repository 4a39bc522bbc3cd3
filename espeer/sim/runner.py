"""Runs a scenario on real processes, and measures."""

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from espeer.errors import EspeerError
from espeer.sim import measure, processes, seeding, stores
from espeer.sim.expectation import Expectation
from espeer.sim.fleet import Fleet, FleetError
from espeer.sim.measure import FIGURES, Life, Made
from espeer.sim.members import Member, Members, now_ms
from espeer.sim.scenario import Scenario
from espeer.sim.steps import Course, Steps
from espeer.tasks import background, cause

_SAMPLE_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.5

Say = Callable[[str], None]
"""Called with what is going on, often."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to.

    :ivar figures: what was measured, of :data:`espeer.sim.measure.FIGURES`; None where a figure has no meaning.
    :ivar attacks: what each attack did and cost.
    :ivar logs: where the processes' logs were kept, because an expectation failed.
    """

    scenario: Scenario
    quick: bool
    figures: Mapping[str, Any]
    attacks: tuple[Mapping[str, Any], ...]
    logs: Path | None

    @property
    def failed(self) -> list[Expectation]:
        """The expectations that were not met."""
        return [expected for expected in self.scenario.expect if not expected.holds(self.figures)]

    def summary(self) -> dict[str, Any]:
        """Everything as JSON; figures without meaning here are left out, but for the four that every scenario has."""
        always = ("missed", "duplicates", "latency_p50_s", "latency_p99_s")
        return {
            "name": self.scenario.name,
            "seed": self.scenario.seed,
            "quick": self.quick,
            "passed": not self.failed,
            "failed": [expected.figure for expected in self.failed],
            **{name: self.figures.get(name) for name in always},
            **{name: value for name, value in self.figures.items() if value is not None},
            **({"attacks": list(self.attacks)} if self.attacks else {}),
        }


def perform(scenario: Scenario, *, quick: bool, say: Say) -> Result:
    """Run a scenario. However it ends, all its processes end with it.

    :param quick: what the scenario is the smaller form of something; only noted.
    :raises FleetError: it cannot be run; the message says where the processes' logs were kept.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"espeer-sim-{scenario.name[:32]}-"))
    keep = False
    try:
        figures, attacks = _unwrapped(scenario, folder, say)
        result = Result(scenario, quick, figures, attacks, None)
        keep = bool(result.failed)
    except EspeerError as error:
        keep = True
        raise FleetError(f"{scenario.name}: {error} (logs: {folder})") from error
    finally:
        _tidy(folder, keep=keep)
    return Result(scenario, quick, figures, attacks, folder if keep else None)


def _unwrapped(scenario: Scenario, folder: Path, say: Say) -> tuple[dict[str, Any], tuple[dict[str, Any], ...]]:
    """Run it, and raise what went wrong without the groups that nurseries make."""
    try:
        with Fleet(folder) as fleet:
            return trio.run(_run, scenario, fleet, folder, say)
    except BaseExceptionGroup as group:
        raise cause(group) from group


def _tidy(folder: Path, *, keep: bool) -> None:
    """Remove everything, or all but the logs."""
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "log":
            path.unlink(missing_ok=True)


async def _run(scenario: Scenario, fleet: Fleet, folder: Path, say: Say) -> tuple[dict[str, Any], tuple[dict[str, Any], ...]]:
    began = time.monotonic()
    course = Course()
    async with background() as nursery:
        members = Members(fleet, folder, scenario.nodes, proxied=scenario.partitioned, nursery=nursery)
        await _seed(scenario, members, course, say)
        await _start_all(scenario, members, say)
        nursery.start_soon(_watch_over, members, course, say)
        await Steps(scenario, members, course).run()
        say("waiting until all hold the same")
        await _settle(members, course, scenario.settle)
        figures = await _figures(scenario, members, course)
    known = dict.fromkeys(FIGURES) | figures | {"seconds": round(time.monotonic() - began, 1)}
    return known, tuple(course.attacks)


async def _seed(scenario: Scenario, members: Members, course: Course, say: Say) -> None:
    seeded = scenario.seeded
    if seeded is None:
        return

    def fill() -> list[bytes]:
        first, *others = (members.folder(name) for name in seeded.nodes)
        made = seeding.seed_folder(
            first,
            seeded,
            types=scenario.nodes.types,
            seed=scenario.seed,
            now_ms=now_ms(),
            progress=lambda number: say(f"preparing {number:,} of {seeded.records:,} records"),
        )
        for other in others:
            seeding.copy_folder(first, other)
        return made

    course.made += [Made(id_, "") for id_ in await trio.to_thread.run_sync(fill)]


async def _start_all(scenario: Scenario, members: Members, say: Say) -> None:
    names = [name for number in range(scenario.nodes.count) if (name := f"n{number + 1}") not in scenario.late]
    say(f"starting {len(names)} nodes")
    first = await members.start(names[0])
    async with trio.open_nursery() as nursery:
        for name in names[1:]:
            nursery.start_soon(_start_one, members, name, first.address)
    await members.meet()
    await trio.sleep(scenario.nodes.rest)


async def _start_one(members: Members, name: str, address: str) -> None:
    await members.start(name, bootstrap=[address])


async def _watch_over(members: Members, course: Course, say: Say) -> None:
    """Look at the processes once a second, and say how things are."""
    began = trio.current_time()
    while True:
        for member in members.all.values():
            if not member.killed and (seen := processes.sample(member.device.process.pid, trio.current_time())):
                member.samples.append(seen)
        say(f"{trio.current_time() - began:.0f} s, {len(members.alive())} nodes, {len(course.made):,} records")
        await trio.sleep(_SAMPLE_SECONDS)


async def _settle(members: Members, course: Course, seconds: float) -> None:
    """Wait until all living nodes hold the same number of records, and all that were acknowledged; or for so many seconds."""
    with trio.move_on_after(seconds):
        while True:
            folders = [member.device.data for member in members.alive()]
            counts = await trio.to_thread.run_sync(lambda folders: {stores.count(data) for data in folders}, folders)
            if len(counts) == 1 and counts.pop() >= len(course.made) - _dead_authors(members, course):
                return
            await trio.sleep(_POLL_SECONDS)


def _dead_authors(members: Members, course: Course) -> int:
    """How many of the records may have died with their authors."""
    return sum(bool(one.author) and not members.all[one.author].alive for one in course.made)


async def _figures(scenario: Scenario, members: Members, course: Course) -> dict[str, Any]:
    died = sum(not member.alive and not member.killed for member in members.all.values())
    counters = await members.counters()
    lives = await trio.to_thread.run_sync(lambda: [_life(member) for member in members.all.values() if member.up])
    figures = measure.replication(course.made, lives) | measure.latencies(course.made, lives)
    figures |= {
        "duplicates": sum(reading.get("duplicates", 0) for reading in counters.values()),
        "unacknowledged": course.unacknowledged,
        "kills": course.kills,
        "joins": course.joins,
        "processes_died": died,
        "errors_logged": sum(_errors(member) for member in members.all.values()),
    }
    figures |= processes.usage({name: member.samples for name, member in members.all.items()})
    if course.burst is not None:
        figures["made_s"] = measure.making(course.burst, lives)
        figures["spread_s"] = measure.spread(course.burst, lives)
    if course.cut:
        figures["crossed"] = measure.crossed(course.cut, course.made, lives)
    if course.cut and not figures["unequal"]:
        figures["equal_after_s"] = measure.spread(course.cut.healed, lives) or 0.0
        figures["repair_intervals"] = round(figures["equal_after_s"] / scenario.nodes.repair_interval, 3)
    if course.recalls:
        figures |= measure.recalls(course.recalls, {life.name: life for life in lives if life.name in scenario.late})
    if course.watched:
        figures |= measure.checks(*course.watched)
    for life in lives:
        if life.name in scenario.late and scenario.seeded:
            figures |= measure.catch_up(life, members.all[life.name].launched, synced_bytes=_synced(counters[life.name]))
    return figures | _worst(course.attacks)


def _life(member: Member) -> Life:
    return Life(member.name, member.up, member.alive, stores.rows(member.device.data))


def _synced(counters: Mapping[str, int]) -> int | None:
    if "sync_bytes_in" not in counters:
        return None
    return counters["sync_bytes_in"] + counters["sync_bytes_out"]


def _worst(attacks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of the attack that cost most, figure by figure."""
    names = {"rss_growth_mb": "rss_growth_mb", "cpu_attacked": "cpu", "cpu_after": "cpu_after"}
    costs = {figure: [one[name] for one in attacks if one[name] is not None] for figure, name in names.items()}
    return {figure: round(max(found), 3) for figure, found in costs.items() if found}


def _errors(member: Member) -> int:
    """Count the errors in a member's log: faults that it survived."""
    return sum('"level": "error"' in line for line in member.device.log.read_text(errors="replace").splitlines())
