"""Refined experience (paper, section 4): whether a store that is full of the same things answers better once it is refined.

Each question's experience is stored some hundred times in several wordings. Then a node's refiner goes over copies of that
store, one for each threshold of a row, on the paper's scale and on the normalised one. Questions that were learnt from are
asked again, and others for the first time: of the plain model, with the full store, and with what each threshold left.
"""

import random
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from espeer.errors import InputError
from espeer.lifecycle.essence import stems
from espeer.recall import Recall
from espeer.scale import Scale
from espeer.sim.experiments import questions, refined_report, saturated
from espeer.sim.experiments.journal import digest
from espeer.sim.experiments.pupil import Pupil, recall_from
from espeer.sim.experiments.questions import Item, Split
from espeer.sim.experiments.refined_report import FULL, PLAIN, Found, Store
from espeer.sim.experiments.remembering import remembering
from espeer.sim.experiments.report import Report
from espeer.sim.experiments.saturated import Refinement, Saturated
from espeer.sim.experiments.settings import Refined
from espeer.sim.experiments.work import Work
from espeer.tasks import in_thread

_TO_CHOOSE_BY: Final = 20
"""So many questions show how a model is best asked."""


async def run(settings: Refined, work: Work) -> Report:
    """Do what is not done, and return what all of it came to.

    :raises InputError: a subject has too few questions.
    """
    pools = {subject: _pool(settings, work, subject) for subject in settings.subjects}
    async with remembering(settings.model or None, work) as engine:
        pupil = await Pupil.of(engine, work, pools[settings.subjects[0]].test[:_TO_CHOOSE_BY], support=settings.support)
        found = [
            await _one(settings, pupil, subject, seed, _drawn(pool.train, seed, settings))
            for subject, pool in pools.items()
            for seed in settings.seeds
        ]
        return refined_report.report(settings, found, model=engine.model.name, method=pupil.method)


def _thresholds(settings: Refined) -> list[tuple[Scale, float]]:
    """Return the thresholds to refine at, by rising threshold on each scale."""
    rows: tuple[tuple[Scale, Sequence[float]], ...] = (("raw", settings.raw), ("normalised", settings.normalised))
    return [(scale, threshold) for scale, row in rows for threshold in sorted(row)]


def _pool(settings: Refined, work: Work, subject: str) -> Split:
    """Return a subject's questions that are used, and those that are not."""
    items = questions.some(questions.distinct(work.data, subject), None)
    if settings.train + settings.test > min(settings.most, len(items) - 1):
        raise InputError(
            f"{subject}: of {len(items)} questions at most {min(settings.most, len(items) - 1)} are used; "
            "lower train or test, or raise most"
        )
    most = min(settings.most, max(settings.train + settings.test, len(items) - _TO_CHOOSE_BY))
    return Split(tuple(items[:most]), tuple(items[most:]))


def _drawn(items: Sequence[Item], seed: int, settings: Refined) -> Split:
    drawn = list(items)
    random.Random(seed).shuffle(drawn)  # noqa: S311 - nothing secret
    return Split(tuple(drawn[: settings.train]), tuple(drawn[settings.train : settings.train + settings.test]))


async def _one(settings: Refined, pupil: Pupil, subject: str, seed: int, split: Split) -> Found:
    """Saturate a store, refine copies of it, and ask."""
    about, work = f"{subject}, seed {seed}", pupil.work
    wordings, by_model = await _wordings(settings, pupil, about, seed, split.train)
    model = pupil.engine.model.name
    full = await in_thread(lambda: saturated.saturate(wordings, iterations=settings.iterations, seed=seed, model=model))
    known = set(questions.leaks({text for texts in wordings.values() for text in texts}, split.test))
    test = [item for item in split.test if item.id not in known]
    with ExitStack() as open_stores:
        kept = {FULL: open_stores.enter_context(saturated.held(full))}
        scales = dict.fromkeys(scale for scale, _ in _thresholds(settings))
        alike = {scale: await in_thread(saturated.likeness, full, kept[FULL].replica, scale) for scale in scales}
        kept |= await _refined(settings, pupil, about, full, open_stores)
        for refinement in kept.values():
            await saturated.time_recall(refinement, [*test, *split.train], k=settings.k)
        asked: list[tuple[str, Recall | None, Item]] = [(PLAIN, None, item) for item in (*test, *split.train)]
        asked += [(name, recall_from(one.replica), item) for name, one in kept.items() for item in (*test, *split.train)]
        replies = await work.each(f"{about}: ask", asked, partial(_ask, pupil, settings.k, full))
        by = {(name, item.id): reply for (name, _, item), reply in zip(asked, replies, strict=True)}
        stores = [_answered(name, by, test, split.train, one) for name, one in {PLAIN: None, **kept}.items()]
    asked_for = min(settings.written, settings.wordings - 1) * len(split.train)
    return Found(subject, seed, tuple(stores), alike, leaks=len(known), written=by_model, asked_for=asked_for)


async def _wordings(
    settings: Refined, pupil: Pupil, about: str, seed: int, train: Sequence[Item]
) -> tuple[dict[str, list[str]], int]:
    """Learn, and put what was learnt into other words; return these by item, and how many of them the model wrote."""
    told = await pupil.work.each(f"{about}: learn", train, pupil.learn)

    async def put(pair: tuple[Item, str]) -> tuple[list[str], int]:
        item, text = pair
        number, written = settings.wordings, settings.written
        return await saturated.worded(item, text, pupil.engine, wordings=number, written=written, seed=seed)

    pairs = [(item, one["experience"]) for item, one in zip(train, told, strict=True)]
    made = await pupil.work.each(f"{about}: put into other words", pairs, put)
    wordings = {item.id: texts for item, (texts, _) in zip(train, made, strict=True)}
    return wordings, sum(written for _, written in made)


async def _refined(
    settings: Refined, pupil: Pupil, about: str, full: Saturated, open_stores: ExitStack
) -> dict[str, Refinement]:
    """Refine a copy of the store at each threshold, several at the same time: the model writes for them together."""
    chosen = _thresholds(settings)
    copies = [open_stores.enter_context(saturated.held(full)) for _ in chosen]

    async def refine(place: int) -> None:
        scale, threshold = chosen[place]
        await saturated.refine(copies[place], pupil.engine, scale=scale, threshold=threshold)

    await pupil.work.each(f"{about}: refine", range(len(chosen)), refine)
    return {refined_report.named(scale, threshold): one for (scale, threshold), one in zip(chosen, copies, strict=True)}


@dataclass(frozen=True, slots=True)
class _Reply:
    """Whether a question was answered right, and what the model was shown.

    :ivar shown: a text at all.
    :ivar told: a text that held all words of the right answer.
    :ivar own: so many texts that stand for the question's own experience.
    :ivar different: so many different texts.
    """

    right: bool
    shown: bool = False
    told: bool = False
    own: int = 0
    different: int = 0


async def _ask(pupil: Pupil, k: int, full: Saturated, asked: tuple[str, Recall | None, Item]) -> _Reply:
    """Ask with what is recalled. What is the same in two stores is shown to the model once."""
    _, recall, item = asked
    if recall is None:
        return _Reply((await pupil.alone(item))["index"] == item.answer)
    hits = (await recall.recall(item.question, k, type=None)).hits
    texts = [hit.experience.text for hit in hits]
    found = await pupil.ask(f"ask {digest(texts)} {item.id}", item, recall, k=k)
    answer = stems(item.right)
    return _Reply(
        found["index"] == item.answer,
        shown=found["recalled"] > 0,
        told=any(answer <= stems(text) for text in texts),
        own=sum(item.id in full.behind(hit) for hit in hits),
        different=len(set(texts)),
    )


def _answered(
    name: str, replies: Mapping[tuple[str, str], _Reply], test: Sequence[Item], train: Sequence[Item], one: Refinement | None
) -> Store:
    return Store(
        name,
        test={item.id: replies[name, item.id].right for item in test},
        repeated={item.id: replies[name, item.id].right for item in train},
        shown={item.id: replies[name, item.id].shown for item in test},
        told={item.id: replies[name, item.id].told for item in train},
        own={item.id: replies[name, item.id].own for item in train},
        different={item.id: replies[name, item.id].different for item in train},
        kept=one.kept if one else None,
    )
