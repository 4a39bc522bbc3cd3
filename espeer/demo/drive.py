"""What happens in the demo: start the fleet, let it learn, ask."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from rich.progress import Progress

from espeer.api.client import request
from espeer.demo.incidents import AREAS, NOBODY, Incident, load, shared_out
from espeer.demo.results import Results
from espeer.sim.fleet import Device, Fleet, FleetError

LEARNERS: Final = ("A", "B")
ASKED: Final = "C"

_FIRST_TOKENS: Final = 15
_MEET_SECONDS: Final = 60.0
_LEARN_SECONDS: Final = 600.0
_POLL_SECONDS: Final = 0.5


class _FirstPiece(Exception):
    """Ends an answer at its first piece."""


def start(fleet: Fleet, model: str | None) -> dict[str, Device]:
    """Start A, and then B and C, which join through A; return when all see each other."""
    options = [part for area in AREAS for part in ("--type", area)] + (["--model", model] if model else [])
    one_thread = ["--threads", "1"]  # A and B work at the same time, C alone
    a = fleet.start("A", *options, *one_thread)
    address = a.await_up()["addresses"][0]
    b = fleet.start("B", *options, *one_thread, bootstrap=[address])
    c = fleet.start("C", *options, bootstrap=[address])
    devices = {"A": a, "B": b, "C": c}
    for device in devices.values():
        device.await_up()
        device.await_status(_MEET_SECONDS, lambda status: status["peers"] == len(devices) - 1)
    return devices


def names(devices: dict[str, Device]) -> dict[str, str]:
    """Return the devices' names by peer id."""
    return {device.ask("status")["peer_id"]: name for name, device in devices.items()}


def run(devices: dict[str, Device], each: int, progress: Progress) -> Results:
    """Let A and B learn ``each`` incidents, then ask C about those and as many that nobody learnt.

    :raises FleetError: a node failed, or it took too long.
    """
    groups = shared_out(load(), LEARNERS, each)
    _learn(devices, groups, progress)
    c = devices[ASKED]
    quiz = [(learner, incident) for learner, group in groups.items() for incident in group]
    before = _choose_all(c, quiz, progress, "C answers without experience", recall=0)
    after = _choose_all(c, quiz, progress, "C answers with experience", recall=None)
    known = [incident for learner, incident in quiz if learner != NOBODY]
    return Results(
        quiz=quiz,
        before=before,
        after=after,
        first_tokens_ms=_first_tokens(c, known, progress),
        methods={name: devices[name].ask("status")["methods"] for name in LEARNERS},
        names=names(devices),
    )


def _learn(devices: dict[str, Device], groups: dict[str, list[Incident]], progress: Progress) -> None:
    """Let A and B learn at the same time, and wait until everything has reached C."""
    wanted = {name: len(groups[name]) for name in LEARNERS}
    bars = {name: progress.add_task(f"{name} learns its incidents", total=wanted[name]) for name in LEARNERS}
    bars[ASKED] = progress.add_task("C hears of them", total=sum(wanted.values()))
    for name in LEARNERS:
        for incident in groups[name]:
            devices[name].ask("learn", text=incident.report, response=incident.attempt, feedback=incident.cure)
    deadline = time.monotonic() + _LEARN_SECONDS
    pool = ThreadPoolExecutor()
    try:
        flushed = [pool.submit(devices[name].ask, "flush") for name in LEARNERS]
        while not progress.finished:
            if time.monotonic() > deadline:
                raise FleetError(f"not everything reached C in {_LEARN_SECONDS:.0f} s; try again on an idle machine")
            time.sleep(_POLL_SECONDS)
            for name in LEARNERS:
                progress.update(bars[name], completed=sum(devices[name].ask("status")["methods"].values()))
            held = devices[ASKED].ask("status")["records"]
            progress.update(bars[ASKED], completed=sum(row["records"] for row in held))
        for done in flushed:
            done.result()
    finally:
        pool.shutdown(wait=False)  # who interrupts this must not wait for answers, which can take a minute


def _choose_all(
    device: Device, quiz: Sequence[tuple[str, Incident]], progress: Progress, title: str, *, recall: int | None
) -> list[dict[str, Any]]:
    bar = progress.add_task(title, total=len(quiz))
    found = []
    for _, incident in quiz:
        found.append(device.ask("choose", question=incident.question, choices=list(incident.choices), recall=recall))
        progress.advance(bar)
    return found


def _first_tokens(device: Device, known: Sequence[Incident], progress: Progress) -> list[float]:
    """Measure, at the client, the milliseconds from a question to the first piece of its answer, with experience."""

    def stop_at_first(_: str) -> None:
        raise _FirstPiece

    some = known[:: max(1, len(known) // _FIRST_TOKENS)]
    bar = progress.add_task("C's time to first token", total=len(some))
    spent = []
    for incident in some:
        started = time.monotonic()
        try:
            request(device.data, "ask", {"question": incident.question}, on_piece=stop_at_first)
        except _FirstPiece:
            spent.append((time.monotonic() - started) * 1000)
        progress.advance(bar)
    return spent
