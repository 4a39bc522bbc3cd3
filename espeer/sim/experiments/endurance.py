"""A node in use for a long time: asked one question after the other, told each time what is right, refining by itself.

It is the real node, offline, with its store on disk beside the journal. Questions come back, as they do in use; then it is told
another sentence of what is known, so that its store fills with texts that are alike. A node refines when the model has nothing
better to do, so now and then it is left in peace. For comparison each question is also put to it without recall, once.
"""

import os
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import trio

from espeer.config import Config
from espeer.errors import InputError
from espeer.lifecycle.essence import sentences
from espeer.node import Node
from espeer.sim.experiments import endurance_report, questions
from espeer.sim.experiments.endurance_report import Asked, Course, Refined, Told
from espeer.sim.experiments.pupil import TYPE
from espeer.sim.experiments.questions import Item
from espeer.sim.experiments.report import Report
from espeer.sim.experiments.settings import Endurance
from espeer.sim.experiments.work import Work
from espeer.sim.processes import sample

_MANY: Final = 100_000
"""More refinement runs than there can be."""
_REST_AT_MOST: Final = 600
"""Seconds in which a refinement run that was begun in a rest should come to its end."""


async def run(settings: Endurance, work: Work) -> Report:
    """Do what is not done, and return what all of it came to."""
    pool = [item for subject in settings.subjects for item in _pool(settings, work, subject)]
    courses = []
    for seed in settings.seeds:
        trace = random.Random(seed).choices(pool, k=settings.queries)  # noqa: S311 - nothing secret
        courses.append(await _Use(settings, work, seed, trace).course())
    return endurance_report.report(settings, courses)


def _pool(settings: Endurance, work: Work, subject: str) -> list[Item]:
    items = questions.distinct(work.data, subject)
    return questions.some(items, max(1, settings.different // len(settings.subjects)))


def feedback(item: Item, turn: int, *, support: bool) -> str:
    """Return what a node is told after a question: what is right, and a sentence of what is known, each time another one.

    :param turn: how often it was told before.
    """
    known = sentences(item.support) if support else []
    return f"{item.right}. {known[turn % len(known)]}" if known else item.right


class _Use:
    """A node's use with one seed."""

    def __init__(self, settings: Endurance, work: Work, seed: int, trace: Sequence[Item]) -> None:
        self._settings = settings
        self._work = work
        self._seed = seed
        self._trace = trace
        self._folder = work.journal.path.parent / f"node-{seed}"
        self._busy: dict[str, float] = {}

    async def course(self) -> Course:
        """Go on with it to its end."""
        at_end = f"{self._seed} refinements after {len(self._trace)}"
        if at_end not in self._work.journal:
            async with Node(self._config()) as node:
                await self._ask_all(node)
                runs = await node.refinements(limit=_MANY)
                name = (await node.status()).model
                done: list[Refined] = [
                    {
                        "started": run.started,
                        "seconds": None if run.finished is None else (run.finished - run.started) / 1000,
                        "reason": run.reason,
                        "made": run.made,
                        "superseded": run.superseded,
                        "evicted": run.evicted,
                    }
                    for run in reversed(runs)
                ]
                self._work.journal.put(at_end, {"model": name, "runs": done})
        asked: list[Asked] = [self._work.journal.get(self._key(place, "asked")) for place in range(len(self._trace))]
        told: list[Told] = [self._work.journal.get(self._key(place, "told")) for place in range(len(self._trace))]
        found = self._work.journal.get(at_end)
        return Course(self._seed, found["model"], [item.id for item in self._trace], asked, told, found["runs"])

    def _config(self) -> Config:
        return Config(
            data=self._folder,
            model=self._settings.model or None,
            types=(TYPE,),
            offline=True,
            recall=self._settings.k,
            episode_size=1,
            refine_after=self._settings.refine_after,
            refine_threshold=self._settings.threshold,
            max_records=self._settings.max_records,
        )

    def _key(self, place: int, what: str) -> str:
        return f"{self._seed} {place} {what}"

    async def _ask_all(self, node: Node) -> None:
        await self._check(node)
        different = list(dict.fromkeys(self._trace))
        with self._work.phase(f"seed {self._seed}: ask without recall", len(different)) as tick:
            for item in different:
                await self._work.once(f"plain {item.id}", partial(self._plain, node, item))
                tick()
        self._busy = (await node.status()).busy_by_priority  # that work is not the node's
        turns: dict[str, int] = {}
        with self._work.phase(f"seed {self._seed}: ask and tell", len(self._trace)) as tick:
            for place, item in enumerate(self._trace):
                turn = turns.get(item.id, 0)
                turns[item.id] = turn + 1
                asked: Asked = await self._work.once(self._key(place, "asked"), partial(self._ask, node, item))
                await self._work.once(self._key(place, "told"), self._telling(node, place, item, turn, right=asked["right"]))
                tick()

    async def _check(self, node: Node) -> None:
        """See that the node knows what the journal says it was told."""
        done = sum(self._key(place, "told") in self._work.journal for place in range(len(self._trace)))
        if not done <= (await node.status()).interactions <= done + 1:  # it may have been stopped between the two
            raise InputError(f"{self._folder} is not the folder of the node that this journal is about; choose another --out")

    async def _ask(self, node: Node, item: Item) -> Asked:
        started = time.perf_counter()
        await node.recall(item.question, k=max(1, self._settings.k))
        recalled = time.perf_counter()
        choice = await node.choose(item.question, item.choices)
        return {
            "right": choice.index == item.answer,
            "plain": self._work.journal.get(f"plain {item.id}"),
            "recalled": len(choice.experiences),
            "recall_ms": round((recalled - started) * 1000, 3),
            "choose_ms": round(choice.elapsed_ms, 1),
        }

    async def _plain(self, node: Node, item: Item) -> bool:
        return (await node.choose(item.question, item.choices, recall=0)).index == item.answer

    def _telling(self, node: Node, place: int, item: Item, turn: int, *, right: bool) -> Callable[[], Awaitable[Told]]:
        async def tell() -> Told:
            started = time.perf_counter()
            if (await node.status()).interactions > place:  # it was stopped between this and the journal
                await node.flush()
            else:
                told = feedback(item, turn, support=self._settings.support)
                await node.learn(item.question, response=item.right if right else "", feedback=told, type=TYPE, wait=True)
            seconds = time.perf_counter() - started
            every = self._settings.refine_every
            if every and (place + 1) % every == 0:
                await node.refine()
            if self._settings.rest and (place + 1) % self._settings.rest_every == 0:
                await self._rest(node)
            return await self._looked_at(node, seconds)

        return tell

    async def _rest(self, node: Node) -> None:
        """Leave the node in peace, and let it end what it then begins."""
        await trio.sleep(self._settings.rest)
        with trio.move_on_after(_REST_AT_MOST):
            while any(run.finished is None for run in await node.refinements(limit=1)):  # noqa: ASYNC110 - see below
                await trio.sleep(1)  # it would tell of its end, but not whether it ended before

    async def _looked_at(self, node: Node, seconds: float) -> Told:
        status = await node.status()
        used = sample(os.getpid(), 0)
        before, self._busy = self._busy, status.busy_by_priority
        return {
            "learn_s": round(seconds, 3),
            "at": time.time_ns() // 1_000_000,
            "states": {state: number for _, state, number in status.records},
            "methods": status.methods,
            "store_bytes": status.store_bytes,
            "rss": used.rss if used else 0,
            "busy": {name: round(spent - before.get(name, 0.0), 3) for name, spent in status.busy_by_priority.items()},
        }
