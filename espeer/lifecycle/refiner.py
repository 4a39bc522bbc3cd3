"""The refiner: keeps the replica small and sharp while nobody asks the model anything.

A run goes through the types one by one: it finds the experiences that are alike, groups them, and has each group condensed or
merged, each in one step of :class:`espeer.lifecycle.runs.Runs`. Whoever is killed in the middle finds all finished steps done,
and goes on with the run at the next start. After that comes the budget: what is over it is evicted, the least useful first.
A run waits for everything else that wants the model, on a busy node without end; the budget does not wait for so long.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import trio

from espeer.errors import EspeerError, InputError
from espeer.lifecycle.condense import condense
from espeer.lifecycle.refine import Candidate, Group, bytes_saved, groups, least_useful, plan
from espeer.lifecycle.runs import Run, Runs, Undone
from espeer.llm.engine import Engine, Priority
from espeer.log import get_logger
from espeer.records import MAX_SOURCES, Experience, SignedRecord
from espeer.replica import Replica
from espeer.scale import Scale, check_threshold
from espeer.tasks import in_thread

ASKED: Final = "asked"
"""The reason of a run that somebody asked for: everything is compared, also what an undone run was about."""

MAX_GROUP: Final = 12
"""The most experiences that are condensed into one at a time; what is alike beyond that follows in the next round."""

_CHECK_SECONDS: Final = 30.0
OVER_BUDGET_SECONDS: Final = 300.0
"""So long a run may leave the replica over its budget: what it condenses need not be evicted."""

_NEIGHBOURS: Final = 32  # of each experience the nearest ones: so the pairs held are bounded, however alike all are
_CHUNK: Final = 8  # experiences compared before others get their turn
_ROUNDS: Final = 8
_EVICT_AT_ONCE: Final = 100
_SNAPSHOT_CHANGES: Final = 1000

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a refiner goes by.

    :ivar scale, threshold: which experiences are alike, see :data:`espeer.scale.Scale`.
    :ivar after: refine when so many records are new since the last run.
    :ivar max_records: the most active experiences.
    :ivar max_bytes: the most bytes of all experiences that are kept, superseded ones too.
    """

    scale: Scale
    threshold: float
    after: int
    max_records: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """A group that a run would deal with.

    :ivar type: its topic type.
    :ivar members: ids (hexadecimal), the one that all are alike to first.
    :ivar texts: theirs.
    :ivar weakest: the least similarity of a member to the first.
    :ivar action: "merge" (one of them stands for all) or "condense" (the model writes a new one).
    :ivar bytes_saved: of the active experiences' texts, estimated.
    """

    type: str
    members: tuple[str, ...]
    texts: tuple[str, ...]
    weakest: float
    action: str
    bytes_saved: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    :ivar run: its number, for undoing it.
    :ivar before, after: active experiences.
    :ivar condensed, extracted: condensates worded by the model, and put together from their sources' sentences.
    :ivar merged: groups that one of their own members stands for.
    :ivar disputed: condensates whose sources contradict each other.
    :ivar evicted: experiences for which there was no room.
    :ivar freed: bytes of superseded and retracted experiences' data for which there was no room.
    """

    run: int
    before: int
    after: int = 0
    condensed: int = 0
    extracted: int = 0
    merged: int = 0
    disputed: int = 0
    evicted: int = 0
    freed: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class _Work:
    """A run at work.

    :ivar apart: what it leaves alone.
    :ivar evicted, freed: as :class:`Outcome`.
    """

    run: Run
    settings: Settings
    apart: frozenset[str]
    evicted: int = 0
    freed: int = 0


class Refiner:
    """Refines a replica: when asked, and by itself in idle time.

    :param author: our public key.
    :param sign: makes a signed record of an experience of ours.
    :param clock: milliseconds since the Unix epoch.
    :param tell: called with what a run came to.
    """

    def __init__(
        self,
        replica: Replica,
        engine: Engine,
        *,
        author: bytes,
        sign: Callable[[Experience], SignedRecord],
        clock: Callable[[], int],
        settings: Settings,
        tell: Callable[[Outcome], None] = lambda _: None,
    ) -> None:
        self._replica = replica
        self._engine = engine
        self._author = author
        self._sign = sign
        self._clock = clock
        self._settings = settings
        self._tell = tell
        self._working = trio.Lock()
        self._evicting = trio.Lock()
        self._at_work: _Work | None = None
        self.runs: Final = Runs(replica, clock=clock)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Go on with what was cut off, and refine whenever there is reason to, until cancelled."""
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._again_and_again, self._refine_and_save)
            nursery.start_soon(self._again_and_again, self._keep_to_budget_meanwhile)

    async def _again_and_again(self, do: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await do()
            except EspeerError as error:
                log.warning("cannot refine now, will try again", reason=str(error))
            except Exception:  # a fault of ours must not end the node
                log.exception("refining failed, will try again")
            await trio.sleep(_CHECK_SECONDS)

    async def _refine_and_save(self) -> None:
        await self._refine_if_due()
        await in_thread(lambda: self._replica.save_index(at_least=_SNAPSHOT_CHANGES))

    async def _keep_to_budget_meanwhile(self) -> None:
        """Evict what there is no room for if the run at work does not come to that in time."""
        for _ in range(round(OVER_BUDGET_SECONDS / _CHECK_SECONDS)):
            if self._at_work is None or not await in_thread(self._is_over_budget, self._at_work.settings):
                return
            await trio.sleep(_CHECK_SECONDS)
        if self._at_work is not None:
            await self._keep_to_budget(self._at_work)

    async def _refine_if_due(self) -> None:
        async with self._working:
            run = await in_thread(self.runs.unfinished)
            reason = await in_thread(self._reason)
            if run is None and reason is not None:
                scale, threshold = self._settings.scale, self._settings.threshold
                run = await in_thread(lambda: self.runs.begin(reason, scale=scale, threshold=threshold))
            if run is not None:
                await self._perform(run)

    async def refine(self, *, type: str | None = None, scale: Scale | None = None, threshold: float | None = None) -> Outcome:
        """Refine now; everything is compared with everything.

        Whoever is cancelled here leaves what was done by then, and the run is over.
        :param type: only this topic type.
        :param scale, threshold: in place of the settings.
        """
        settings = self._chosen(scale, threshold)
        async with self._working:
            run = await in_thread(
                lambda: self.runs.begin(ASKED, scale=settings.scale, threshold=settings.threshold, type=type or "")
            )
            try:
                return await self._perform(run)
            except trio.Cancelled:
                with trio.CancelScope(shield=True):
                    await in_thread(self.runs.finish, run.id)
                raise

    async def _perform(self, run: Run) -> Outcome:
        started = time.monotonic()
        asked = run.reason == ASKED
        work = _Work(
            run=run,
            settings=replace(self._settings, scale=run.scale, threshold=run.threshold),
            apart=frozenset() if asked else frozenset(await in_thread(self.runs.kept_apart)),
        )
        new = None if asked else await in_thread(self._not_compared, work.settings)
        outcome = Outcome(run.id, len(self._replica))
        self._at_work = work
        try:
            for name in (run.type,) if run.type else self._replica.types:
                active = await in_thread(self._replica.active, name)
                keys = [key for key in active if key not in work.apart and (new is None or key in new)]
                outcome = await self._refine_type(work, name, keys, outcome)
            await self._keep_to_budget(work)
        finally:
            self._at_work = None
        await in_thread(self.runs.finish, run.id)
        seconds = time.monotonic() - started
        outcome = replace(outcome, after=len(self._replica), evicted=work.evicted, freed=work.freed, seconds=seconds)
        self._tell(outcome)
        log.info("refined", run=run.id, reason=run.reason, before=outcome.before, after=outcome.after)
        return outcome

    async def preview(
        self, *, type: str | None = None, scale: Scale | None = None, threshold: float | None = None
    ) -> list[Proposal]:
        """Return the groups that :meth:`refine` would deal with first; nothing is changed. Parameters as there."""
        settings = self._chosen(scale, threshold)
        proposals = []
        for name in self._replica.types if type is None else (type,):
            keys = await in_thread(self._replica.active, name)
            found, candidates = await self._groups(keys, settings, frozenset())
            proposals += [_proposal(name, group, candidates) for group in found]
        return proposals

    async def undo(self, run: int) -> Undone:
        """Take a run back, once no other is at work. See :meth:`espeer.lifecycle.runs.Runs.undo`."""
        async with self._working:
            return await in_thread(self.runs.undo, run)

    def _chosen(self, scale: Scale | None, threshold: float | None) -> Settings:
        chosen = replace(self._settings, scale=scale or self._settings.scale)
        if threshold is not None:
            check_threshold(threshold, chosen.scale)
            chosen = replace(chosen, threshold=threshold)
        elif scale is not None and scale != self._settings.scale:
            raise InputError(f"give a threshold with the scale {scale!r}: that of the other scale means something else")
        return chosen

    # -- a run's steps

    async def _refine_type(self, work: _Work, type: str, keys: Sequence[str], outcome: Outcome) -> Outcome:
        """Deal with all groups that hold one of the keys, then with those that their condensates are in, and so on."""
        for _ in range(_ROUNDS):
            found, candidates = await self._groups(keys, work.settings, work.apart)
            made = []
            for group in found:
                await self._engine.turn(Priority.REFINE)
                head, outcome = await self._settle(work.run, type, group, candidates, outcome)
                made += [head] if head else []
            if not made:
                break
            keys = made
        return outcome

    async def _groups(
        self, keys: Sequence[str], settings: Settings, apart: frozenset[str]
    ) -> tuple[list[Group], dict[str, Candidate]]:
        """Compare experiences with all others of their type; return the groups that this makes, and their members."""
        pairs: dict[tuple[str, str], float] = {}
        for start in range(0, len(keys), _CHUNK):
            await self._engine.turn(Priority.REFINE)
            for a, b, similarity in await in_thread(self._pairs, keys[start : start + _CHUNK], settings):
                if not apart & {a, b}:
                    pairs[min(a, b), max(a, b)] = similarity
        candidates = await in_thread(self._candidates, {key for pair in pairs for key in pair})
        known = [(a, b, similarity) for (a, b), similarity in pairs.items() if a in candidates and b in candidates]
        found = await in_thread(lambda: groups(known, candidates, max_size=MAX_GROUP, max_sources=MAX_SOURCES))
        return found, candidates

    def _pairs(self, keys: Sequence[str], settings: Settings) -> list[tuple[str, str, float]]:
        return [
            (key, other, similarity)
            for key in keys
            for other, similarity in self._replica.neighbours(key, settings.threshold, scale=settings.scale, k=_NEIGHBOURS)
        ]

    def _candidates(self, keys: Iterable[str]) -> dict[str, Candidate]:
        found = {}
        for key in keys:
            with suppress(InputError):  # it may have gone since
                found[key] = self.runs.candidate(key)
        return found

    async def _settle(
        self, run: Run, type: str, group: Group, candidates: dict[str, Candidate], outcome: Outcome
    ) -> tuple[str | None, Outcome]:
        """Merge or condense a group; return what stands for it now, or None if one of it has gone meanwhile."""
        chosen = plan(group, candidates)
        if chosen.survivor is not None:
            done = await in_thread(lambda: self.runs.supersede(run.id, chosen.members, chosen.survivor or ""))
            return (chosen.survivor, replace(outcome, merged=outcome.merged + 1)) if done else (None, outcome)
        texts = [candidates[key].text for key in chosen.winners]
        condensate = await condense(self._engine, texts, note=chosen.note)
        signed = self._sign(
            Experience(
                type=type,
                text=condensate.text,
                created=self._clock(),
                author=self._author,
                model=self._engine.model.name,
                method=condensate.method,
                sources=await in_thread(self.runs.leaves, chosen.members),
            )
        )
        if not await in_thread(lambda: self.runs.supersede(run.id, chosen.members, signed.id.hex(), new=signed)):
            return None, outcome
        worded = condensate.method == "condensed"
        return signed.id.hex(), replace(
            outcome,
            condensed=outcome.condensed + worded,
            extracted=outcome.extracted + (not worded),
            disputed=outcome.disputed + bool(chosen.note),
        )

    async def _keep_to_budget(self, work: _Work) -> None:
        """Evict what there is no room for: superseded experiences' data first where bytes are short, then the least useful."""
        async with self._evicting:
            over = await in_thread(self.runs.size) - work.settings.max_bytes
            if over > 0:
                work.freed += await in_thread(self.runs.free_hidden, over)
            if not await in_thread(self._is_over_budget, work.settings):
                return
            standings = await in_thread(self.runs.standings)
            ranked = least_useful(standings, now_ms=self._clock(), excess=len(standings))
            while ranked and (excess := await in_thread(self._excess, work.settings, len(ranked))):
                victims, ranked = ranked[:excess], ranked[excess:]
                await in_thread(self.runs.evict, work.run.id, victims)
                work.evicted += len(victims)

    def _is_over_budget(self, settings: Settings) -> bool:
        return len(self._replica) > settings.max_records or self.runs.size() > settings.max_bytes

    def _excess(self, settings: Settings, left: int) -> int:
        """Return how many of those ``left`` to evict next, 0 when all is within the budget."""
        size = self.runs.size()
        share = -(-(size - settings.max_bytes) * left // size) if size > settings.max_bytes else 0
        return min(_EVICT_AT_ONCE, max(0, len(self._replica) - settings.max_records, share))

    # -- when to run

    def _not_compared(self, settings: Settings) -> set[str] | None:
        """Return what came since the last run by the same measure; None where there was none: everything."""
        last = self.runs.last_finished(settings.scale, settings.threshold)
        return None if last is None else self.runs.newer_than(last.seen)

    def _reason(self) -> str | None:
        """Return why it is time to refine, or None."""
        settings = self._settings
        last = self.runs.last()
        new = self.runs.count_newer_than(last.seen if last else 0)
        if self._is_over_budget(settings) and (new or last is None or last.reason != "capacity"):
            return "capacity"
        return "records" if new >= settings.after else None


def _proposal(type: str, group: Group, candidates: dict[str, Candidate]) -> Proposal:
    chosen = plan(group, candidates)
    texts = tuple(candidates[key].text for key in chosen.members)
    saved = bytes_saved(chosen, candidates)
    return Proposal(type, chosen.members, texts, group.weakest, "merge" if chosen.survivor else "condense", saved)
