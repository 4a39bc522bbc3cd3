"""Puts a trace through a deployment, and notes what comes of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import trio

from espeer.errors import EspeerError
from espeer.p2p.remote import KEPT_SECONDS
from espeer.sim import stores
from espeer.sim.experiments.serverless_fleet import Deployment, Node, deployed, now
from espeer.sim.experiments.serverless_found import Asked, Checked, Failed, How, Kind, Piece, Spread
from espeer.sim.experiments.serverless_trace import WORDS, Lesson, Load, Question, Trace, tells_of

_TOKENS: Final = 8
"""So many tokens of an answer are written: the first is what is waited for."""
_REFINE_ALIKE: Final = 0.4
"""Two reports of one fault in different words are at least so alike on the normalised scale; those of two faults are not."""
_POLL_SECONDS: Final = 0.1
_SPREAD_SECONDS: Final = 60.0
_EARLY_SECONDS: Final = 2.0
"""In an outage a lesson may take so long to be found before questions come; who cannot reach it by then cannot meanwhile."""


@dataclass(slots=True)
class _Traffic:
    """Bytes that went over the network, and in how many seconds."""

    carried: int = 0
    seconds: float = 0.0

    @contextmanager
    def over(self, deployment: Deployment) -> Iterator[None]:
        """Count in the block."""
        carried, since = deployment.carried, now()
        yield
        self.carried += deployment.carried - carried
        self.seconds += now() - since

    def beyond(self, noise: float) -> float:
        """Return the bytes beyond so many a second."""
        return self.carried - noise * self.seconds


async def measure(
    kind: Kind,
    trace: Trace,
    loads: Sequence[Load],
    *,
    devices: int,
    delay_ms: float,
    model: str,
    calm: float,
    quiet: float,
    whole: bool,
    warming: bool = True,
) -> Piece:
    """Put a trace through a deployment.

    :param delay_ms: a round trip's, in milliseconds.
    :param calm: seconds without work after which models count as prepared for what was learnt.
    :param quiet: seconds for which the network is listened to while nothing happens.
    :param whole: have answers chosen between lessons, and replicas refined at the end, too.
    :param warming: have peers prepare in idle time what they hold.
    """
    async with deployed(kind, devices=devices, delay_ms=delay_ms, model=model, warming=warming) as deployment:
        await _warm_up(deployment, trace)
        began, before = now(), await _busy(deployment)

        checked = await _check(deployment, trace, 0, since=0) if whole else []
        for number, lessons in enumerate(trace.lessons):
            since = trio.current_time()
            for lesson in lessons:
                await _teach(deployment, lesson)
            checked += await _check(deployment, trace, number + 1, since=since) if whole else []
        taught, asking, nothing = _Traffic(), _Traffic(), _Traffic()
        with taught.over(deployment):  # and nobody asks meanwhile whether it is there
            for lesson in trace.again:
                await _tell(deployment, lesson)
            await trio.sleep(_POLL_SECONDS + delay_ms / 1000)
        with nothing.over(deployment):
            await deployment.calm(calm)

        with asking.over(deployment):
            asked = [one for load in loads for one in await _volleys(deployment, trace, load)]
        seconds, after = now() - began, await _busy(deployment)
        with nothing.over(deployment):
            await trio.sleep(quiet)
        noise = nothing.carried / nothing.seconds
        return {
            "model": (await deployment.nodes[0].status())["model"],
            "asked": asked,
            "checked": checked,
            "delivery_ms": _delivery(deployment),
            "busy": {
                name: {priority: round(after[name][priority] - spent, 3) for priority, spent in shares.items()}
                for name, shares in before.items()
            },
            "seconds": round(seconds, 3),
            "quiet": noise,
            "query_bytes": asking.beyond(noise) / len(asked),
            "lesson_bytes": taught.beyond(noise) / len(trace.again),
            "stored": {node.name: sum(row.size for row in stores.rows(node.data)) for node in deployment.nodes},
            "refining": {node.name: await _refine(node) for node in deployment.nodes if node.holds and whole},
        }


async def spread(kind: Kind, trace: Trace, *, devices: int, delay_ms: float, model: str) -> list[Spread]:
    """Have the lessons of a trace learnt, one after the other, and see how soon each helps all.

    :param delay_ms: a round trip's, in milliseconds.
    """
    async with deployed(kind, devices=devices, delay_ms=delay_ms, model=model) as deployment:
        await _warm_up(deployment, trace)
        return [{"item": lesson.incident.id, "seconds": await _teach(deployment, lesson)} for lesson in trace.learnt]


async def fail(
    kind: Kind, victim: int | None, how: How, trace: Trace, *, devices: int, delay_ms: float, model: str, calm: float
) -> Failed:
    """Lose a node amid the questions, and have it back after as many more.

    :param victim: the device; None for the server.
    """
    async with deployed(kind, devices=devices, delay_ms=delay_ms, model=model) as deployment:
        node = deployment.nodes[0] if victim is None else deployment.devices[victim]
        alive = [device for device in deployment.devices if device is not node]
        *first, last = trace.learnt
        await _warm_up(deployment, trace)
        for lesson in first:
            await _teach(deployment, lesson)
        await deployment.calm(calm)
        questions = [one for volley in trace.volleys["idle"] for one in volley.questions if one.incident is not last.incident]
        questions = questions[: 2 * devices]
        asked = await _one_by_one(deployment, questions, "before")

        await deployment.lose(node, how)
        lost = now()
        author = alive[0]
        acknowledged = await _learn(author, last)
        found: dict[str, float] = {}
        if victim is not None:  # without the server nobody can
            await _find(deployment, alive, author, last, found, seconds=_EARLY_SECONDS)
        asked += await _one_by_one(deployment, questions, "down")
        back = now()
        await deployment.bring_back(node)
        await _find(deployment, deployment.devices, author, last, found, seconds=_SPREAD_SECONDS)
        recovered = max(found.values()) - back if len(found) == len(deployment.devices) else None
        asked += await _one_by_one(deployment, questions, "after")
        reached = [found.get(device.name) for device in alive]
        spread = max(at - acknowledged for at in reached if at is not None) if None not in reached else None
        return {"asked": asked, "outage": back - lost, "outage_spread": spread, "recovered": recovered}


async def _warm_up(deployment: Deployment, trace: Trace) -> None:
    """Have every device read what all prompts begin with: what follows is not a start."""
    incident = trace.learnt[0].incident
    for node in deployment.devices:
        await node.ask("ask", question="Is there news?", max_tokens=1, capture=False)
        await node.ask("choose", question="Is there news?", choices=list(incident.choices))


async def _tell(deployment: Deployment, lesson: Lesson) -> None:
    """Have a device learn, and return when all replicas hold it; they are looked at beside the network."""
    held = {node.name: stores.count(node.data) for node in deployment.nodes if node.holds}
    author = deployment.devices[lesson.device]
    await author.ask("learn", text=lesson.report, response=lesson.attempt, feedback=lesson.incident.cure)
    with trio.fail_after(_SPREAD_SECONDS):
        for node in deployment.nodes:
            while node.holds and stores.count(node.data) <= held[node.name]:  # noqa: ASYNC110 - a file tells us nothing by itself
                await trio.sleep(_POLL_SECONDS)


async def _teach(deployment: Deployment, lesson: Lesson) -> float | None:
    """Have a device learn; return after how many seconds every device recalls it."""
    author = deployment.devices[lesson.device]
    acknowledged = await _learn(author, lesson)
    found: dict[str, float] = {}
    await _find(deployment, deployment.devices, author, lesson, found, seconds=_SPREAD_SECONDS)
    return max(found.values()) - acknowledged if len(found) == len(deployment.devices) else None


async def _learn(author: Node, lesson: Lesson) -> float:
    """Have a device learn, and return when that is distilled and on its way; say when it was acknowledged."""
    await author.ask("learn", text=lesson.report, response=lesson.attempt, feedback=lesson.incident.cure)
    acknowledged = now()
    await author.ask("flush")
    return acknowledged


async def _find(
    deployment: Deployment, devices: Sequence[Node], author: Node, lesson: Lesson, found: dict[str, float], *, seconds: float
) -> None:
    """Note when each device recalls what another learnt, of those that have not yet; wait so long for it at most.

    They are asked in the words of what was learnt: how well recall does with a user's words is measured by the questions.
    """

    async def look(device: Node) -> None:
        for attempt in count():  # in ever other words, as replies are kept for a while
            hits = await deployment.recalled(device, f"{lesson.report} {attempt}")
            if any(hit["author"] == author.peer_id and tells_of(hit["text"], lesson.code) for hit in hits):
                found[device.name] = now()
                return
            await trio.sleep(_POLL_SECONDS)

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for device in devices:
                if device.name not in found:
                    nursery.start_soon(look, device)


async def _check(deployment: Deployment, trace: Trace, number: int, *, since: float) -> list[Checked]:
    """Have answers chosen for all incidents, and say which are right.

    :param since: when the last check ended, by trio's clock. What a client was told then it keeps for a while, and it is asked
        the same again; before anything was learnt it was told nothing.
    """
    if number > 1:
        await trio.sleep_until(since + KEPT_SECONDS)
    found: list[Checked] = []
    for question in trace.checks[number]:
        incident = question.incident
        device = deployment.devices[question.device]
        chosen = await device.ask("choose", question=incident.question, choices=list(incident.choices))
        found.append({"item": incident.id, "round": number, "right": chosen["index"] == incident.answer})
    return found


async def _volleys(deployment: Deployment, trace: Trace, load: Load) -> list[Asked]:
    """Ask what comes, when it comes, but not before what came last is answered."""
    asked: list[Asked] = []
    began = trio.current_time()
    for number, volley in enumerate(trace.volleys[load]):
        await trio.sleep_until(began + volley.at)
        async with trio.open_nursery() as nursery:
            for question in volley.questions:
                nursery.start_soon(_ask, deployment, question, load, number, asked)
    return asked


async def _one_by_one(deployment: Deployment, questions: Sequence[Question], phase: str) -> list[Asked]:
    asked: list[Asked] = []
    for number, question in enumerate(questions):
        await _ask(deployment, question, phase, number, asked)
    return asked


async def _ask(deployment: Deployment, question: Question, phase: str, volley: int, asked: list[Asked]) -> None:
    device, incident = deployment.devices[question.device], question.incident
    key = f"{device.name} {incident.id}"
    try:
        told: dict[str, Any] = await device.ask("ask", question=f"{incident.question} {WORDS[phase]}", max_tokens=_TOKENS)
    except EspeerError:
        asked.append(
            {"key": key, "volley": volley, "phase": phase, "answered": False, "ttft_ms": None, "timing": {}, "found": False}
        )
        return
    found = any(tells_of(hit["text"], question.code) for hit in told["experiences"])
    timing, ttft_ms = told["timing"], told["ttft_ms"]
    asked.append(
        {"key": key, "volley": volley, "phase": phase, "answered": True, "ttft_ms": ttft_ms, "timing": timing, "found": found}
    )


async def _busy(deployment: Deployment) -> dict[str, dict[str, float]]:
    return {node.name: (await node.status())["busy_by_priority"] for node in deployment.nodes}


async def _refine(node: Node) -> float:
    """Refine a replica; return the seconds that the model worked for it."""
    await node.ask("refine", threshold=_REFINE_ALIKE)
    spent: float = (await node.status())["busy_by_priority"]["refine"]
    return spent


def _delivery(deployment: Deployment) -> list[float]:
    """Return of each record how many milliseconds lie between its making and its being stored on the last node."""
    last: dict[bytes, float] = {}
    for node in deployment.nodes:
        for row in stores.rows(node.data):
            last[row.id] = max(last.get(row.id, 0.0), row.received - row.created)
    return list(last.values())
