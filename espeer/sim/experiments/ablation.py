"""How much hangs on the prompts: other ways to ask for a lesson, and for one note in place of several.

The same questions are learnt from in each manner, in the way a node does it: a first try, its check, a second try, and else
the episode's own sentences. Then others are asked with what was made, and some of the same again. What the manners made of
one question are texts that say the same in other words: these are condensed, again in several manners.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Final

from espeer.errors import ConfigError
from espeer.lifecycle import condense, distil
from espeer.llm.engine import Engine
from espeer.recall import Recall
from espeer.sim.experiments import ablation_report, questions
from espeer.sim.experiments.ablation_report import AGAIN, NEW, PLAIN, Asked, Group, Made, Outcome, Ranked
from espeer.sim.experiments.journal import digest
from espeer.sim.experiments.manners import CONDENSING, CURRENT, DISTILLING, Variant
from espeer.sim.experiments.metered import Metered
from espeer.sim.experiments.pupil import Found, Pupil, interaction, recalling, to_the_point
from espeer.sim.experiments.questions import Item, Split
from espeer.sim.experiments.remembering import remembering
from espeer.sim.experiments.report import Report
from espeer.sim.experiments.settings import Ablation
from espeer.sim.experiments.work import Work

_TO_CHOOSE_BY: Final = 20
"""So many questions show how a model is best asked."""


async def run(settings: Ablation, work: Work) -> Report:
    """Do what is not done, and return what all of it came to."""
    for known, names in ((DISTILLING, settings.distilling), (CONDENSING, settings.condensing)):
        if CURRENT not in names or not set(names) <= set(known):
            raise ConfigError(f"give {CURRENT!r} and any of {', '.join(name for name in known if name != CURRENT)}")
    splits = {subject: _splits(settings, work, subject) for subject in settings.subjects}
    async with remembering(settings.model or None, work) as engine:
        rest = _not_asked(work, settings.subjects[0], splits[settings.subjects[0]].values())
        pupil = await Pupil.of(engine, work, rest, support=settings.support)
        asked, ranked = [], []
        lessons: dict[str, dict[str, Made]] = {name: {} for name in settings.distilling}
        for subject, by_seed in splits.items():
            learners = list(dict.fromkeys(item for split in by_seed.values() for item in split.train))
            for name in settings.distilling:
                made = await work.each(f"{subject}: learn, {name}", learners, partial(_lesson, pupil, DISTILLING[name]))
                lessons[name] |= {item.id: one for item, one in zip(learners, made, strict=True)}
            for seed, split in by_seed.items():
                asked += await _ask_all(settings, pupil, f"{subject}, seed {seed}", split, lessons)
                ranked += [one for name in lessons for one in await _ranks(settings, pupil, split, name, lessons[name])]
        drawn = [split.train for by_seed in splits.values() for split in by_seed.values()]
        in_turn = dict.fromkeys(item for turn in zip(*drawn, strict=True) for item in turn)  # so that every seed has its share
        groups = _groups(in_turn, lessons)[: settings.groups]
        notes = {name: await _notes(work, engine, name, groups) for name in settings.condensing}
        outcome = Outcome(asked, ranked, lessons, notes, groups)
        return ablation_report.report(settings, outcome, model=engine.model.name, method=pupil.method)


def _splits(settings: Ablation, work: Work, subject: str) -> dict[int, Split]:
    items = questions.distinct(work.data, subject)
    drawn = {}
    for seed in settings.seeds:
        order = list(items)
        random.Random(seed).shuffle(order)  # noqa: S311 - nothing secret
        train, test = order[: settings.learn], order[settings.learn :][: settings.ask]
        told = [f"{item.question} {item.right}. {to_the_point(item) if settings.support else ''}" for item in train]
        known = set(questions.leaks(told, test))
        drawn[seed] = Split(tuple(train), tuple(item for item in test if item.id not in known))
    return drawn


def _not_asked(work: Work, subject: str, splits: Iterable[Split]) -> list[Item]:
    """Return some items that are in none of the splits."""
    taken = {item.id for split in splits for item in (*split.train, *split.test)}
    items = questions.distinct(work.data, subject)
    return [item for item in questions.some(items, None) if item.id not in taken][:_TO_CHOOSE_BY]


async def _lesson(pupil: Pupil, variant: Variant, item: Item) -> Made:
    """Answer a question without help, be told what is right, and make a lesson of that in the variant's manner."""

    async def make() -> Made:
        said = item.choices[(await pupil.alone(item))["index"]]
        told = interaction(item, said, support=pupil.support)
        episode = [replace(told, response=said) if variant.wrong else told]
        if variant.manner is None:
            return {"text": distil.extract(episode), "method": "extractive", "calls": 0, "first": [], "read": 0, "written": 0}
        engine = Metered(pupil.engine)
        made = await distil.distil(engine, episode, variant.manner)
        first = distil.problems("".join(engine.said[:1]).strip(), episode, variant.manner)
        return _made(engine, made.text, made.method, first)

    made: Made = await pupil.work.once(f"lesson {digest(asdict(variant))} {item.id}", make)
    return made


async def _ask_all(
    settings: Ablation, pupil: Pupil, where: str, split: Split, lessons: Mapping[str, Mapping[str, Made]]
) -> list[Asked]:
    test = [(NEW, item) for item in split.test] + [(AGAIN, item) for item in split.train[: settings.again]]
    found = {PLAIN: await pupil.work.each(f"{where}: ask, {PLAIN}", test, partial(_plain, pupil))}
    for name, made in lessons.items():
        texts = [made[item.id]["text"] for item in split.train]
        with recalling(texts, pupil.engine.model.name) as recall:
            ask = partial(_ask, pupil, recall, f"ask {digest(texts)}", settings.k)
            found[name] = await pupil.work.each(f"{where}: ask, {name}", test, ask)
    return [
        Asked(item.id, of, name, one["index"] == item.answer, one["recalled"])
        for name, every in found.items()
        for (of, item), one in zip(test, every, strict=True)
    ]


async def _plain(pupil: Pupil, which: tuple[str, Item]) -> Found:
    return await pupil.alone(which[1])


async def _ask(pupil: Pupil, recall: Recall, key: str, k: int, which: tuple[str, Item]) -> Found:
    item = which[1]
    return await pupil.ask(f"{key} {item.id}", item, recall, k=k)


async def _ranks(settings: Ablation, pupil: Pupil, split: Split, variant: str, made: Mapping[str, Made]) -> list[Ranked]:
    ranked = []
    with recalling([made[item.id]["text"] for item in split.train], pupil.engine.model.name) as recall:
        for item in split.train:
            hits = (await recall.recall(item.question, settings.k, type=None)).hits
            texts = [hit.experience.text for hit in hits]
            own = made[item.id]["text"]
            ranked.append(Ranked(item.id, variant, texts.index(own) + 1 if own in texts else None))
    return ranked


def _groups(items: Iterable[Item], lessons: Mapping[str, Mapping[str, Made]]) -> list[Group]:
    """Return what was made of each question, where these are at least two different texts."""
    groups = []
    for item in items:
        texts = {questions.plain(made[item.id]["text"]): made[item.id]["text"] for made in lessons.values()}
        if len(texts) > 1:
            groups.append(Group(item, tuple(texts.values())))
    return groups


async def _notes(work: Work, engine: Engine, name: str, groups: Sequence[Group]) -> dict[str, Made]:
    made = await work.each(f"condense, {name}", groups, partial(_note, work, engine, name))
    return {group.item.id: one for group, one in zip(groups, made, strict=True)}


async def _note(work: Work, engine: Engine, name: str, group: Group) -> Made:
    manner, texts = CONDENSING[name], list(group.texts)

    async def make() -> Made:
        if manner is None:
            text = condense.extract(texts)
            return {"text": text, "method": "extractive", "calls": 0, "first": [], "read": 0, "written": 0}
        metered = Metered(engine)
        made = await condense.condense(metered, texts, manner=manner)
        first = condense.problems("".join(metered.said[:1]).strip("- "), texts, manner=manner)
        return _made(metered, made.text, made.method, first)

    made: Made = await work.once(f"note {digest([manner and asdict(manner), texts])}", make)
    return made


def _made(engine: Metered, text: str, method: str, first: list[str]) -> Made:
    said = engine.said
    return {"text": text, "method": method, "calls": len(said), "first": first, "read": engine.read, "written": engine.written}
