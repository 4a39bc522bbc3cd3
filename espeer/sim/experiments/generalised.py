"""Generalised experience (paper, section 4): whether what was learnt from some questions of a topic helps with others.

Some of a topic's questions are answered by the model and told right or wrong; what is distilled from that is put into the
prompts of the others. Beside it stand the plain model, and one that is shown the raw interactions instead.
Whatever is recalled goes through the same index, the same packing and the same prompt. The states of what is recalled are
joined, as a node does it; experience is asked for once more with the prompt read as a whole, to tell what the joining costs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from espeer.lifecycle.choice import Method
from espeer.llm.shared import shared_model
from espeer.recall import Recall
from espeer.sim.experiments import questions
from espeer.sim.experiments.pupil import Pupil, Told, recalling
from espeer.sim.experiments.questions import Item, Split
from espeer.sim.experiments.report import PAIRED, Figure, Plot, Report, Table, line, measured, paired, shown
from espeer.sim.experiments.settings import Generalised
from espeer.sim.experiments.work import Work

PLAIN: Final = "plain"
MEMORY: Final = "memory"
EXPERIENCE: Final = "experience"
READ_ANEW: Final = "experience, read anew"
_JOINED: Final = (PLAIN, MEMORY, EXPERIENCE)
CONDITIONS: Final = (*_JOINED, READ_ANEW)
_PAIRS: Final = ((MEMORY, PLAIN), (EXPERIENCE, PLAIN), (EXPERIENCE, MEMORY), (READ_ANEW, PLAIN), (READ_ANEW, EXPERIENCE))
_ALL: Final = "all subjects"


@dataclass(frozen=True, slots=True)
class Asked:
    """A test question's outcome: seed, item, condition, and whether the model was right."""

    seed: int
    item: str
    condition: str
    right: bool


@dataclass(frozen=True, slots=True)
class Subject:
    """What is known, and asked, of a subject.

    :ivar told: what came of each question that was learnt from, by its id.
    :ivar tests: a seed's questions, without those whose text or answer stands in a store.
    :ivar leaks: how often one was left out for that.
    """

    splits: Mapping[int, Split]
    told: Mapping[str, Told]
    tests: Mapping[int, list[Item]]
    leaks: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a subject.

    :ivar leaks: how often a test question was left out, see :class:`Subject`.
    """

    asked: list[Asked]
    leaks: int


async def run(settings: Generalised, work: Work) -> Report:
    """Do what is not done, and return what all of it came to."""
    splits = {
        subject: questions.splits(questions.distinct(work.data, subject), settings.share, settings.seeds, most=settings.most)
        for subject in settings.subjects
    }
    never = questions.never_tested(splits[settings.subjects[0]].values())
    async with shared_model(settings.model or None) as engine:
        pupil = await Pupil.of(engine, work, never, support=settings.support)
        subjects = {name: await _learnt(pupil, name, splits[name]) for name in settings.subjects}
        joined = {name: await _asked(settings, pupil, name, subjects[name], _JOINED) for name in subjects}
    async with shared_model(settings.model or None, kv_cache_mb=0) as engine:
        reader = replace(pupil, engine=engine)
        anew = {name: await _asked(settings, reader, name, subjects[name], (READ_ANEW,)) for name in subjects}
    found = {name: Outcome(joined[name] + anew[name], subject.leaks) for name, subject in subjects.items()}
    return _report(settings, found, model=engine.model.name, method=pupil.method)


async def _learnt(pupil: Pupil, name: str, splits: Mapping[int, Split]) -> Subject:
    learners = list(dict.fromkeys(item for split in splits.values() for item in split.train))
    made = await pupil.work.each(f"{name}: learn", learners, pupil.learn)
    told = {item.id: one for item, one in zip(learners, made, strict=True)}
    known = {
        seed: set(questions.leaks([text for condition in _JOINED for text in _texts(split, told, condition)], split.test))
        for seed, split in splits.items()
    }
    tests = {seed: [item for item in split.test if item.id not in known[seed]] for seed, split in splits.items()}
    return Subject(splits, told, tests, sum(map(len, known.values())))


async def _asked(settings: Generalised, pupil: Pupil, name: str, subject: Subject, conditions: Sequence[str]) -> list[Asked]:
    asked = []
    for seed, split in subject.splits.items():
        for condition in conditions:
            with recalling(_texts(split, subject.told, condition), pupil.engine.model.name) as recall:
                ask = partial(_ask, pupil, recall, seed, condition, k=settings.k)
                asked += await pupil.work.each(f"{name}, seed {seed}: ask {condition}", subject.tests[seed], ask)
    return asked


async def _ask(pupil: Pupil, recall: Recall, seed: int, condition: str, item: Item, *, k: int) -> Asked:
    if condition == PLAIN:
        found = await pupil.alone(item)
    else:
        found = await pupil.ask(f"ask {condition} {seed} {item.id}", item, recall, k=k)
    return Asked(seed, item.id, condition, found["index"] == item.answer)


def _texts(split: Split, told: Mapping[str, Told], condition: str) -> list[str]:
    """Return what there is to recall from."""
    match condition:
        case "memory":
            return [told[item.id]["memory"] for item in split.train]
        case "experience" | "experience, read anew":
            return [told[item.id]["experience"] for item in split.train]
        case _:
            return []


# -- what it came to


def _outcomes(asked: Sequence[Asked], condition: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for one in asked:
        if one.condition == condition:
            found.setdefault(one.item, []).append(float(one.right))
    return found


def _report(settings: Generalised, found: Mapping[str, Outcome], *, model: str, method: Method) -> Report:
    figures: list[Figure] = []
    rows, pairs = [], []
    leaks = sum(outcome.leaks for outcome in found.values())
    if len(found) > 1:
        found = {**found, _ALL: Outcome([one for outcome in found.values() for one in outcome.asked], leaks)}
    for subject, outcome in found.items():
        by = {condition: _outcomes(outcome.asked, condition) for condition in CONDITIONS}
        made = {condition: measured(f"{subject}.{condition}", by[condition], better="higher") for condition in CONDITIONS}
        figures += made.values()
        rows.append((subject, str(len(by[PLAIN])), *(shown(made[condition].estimate) for condition in CONDITIONS)))
        pairs += [(subject, f"{one} over {other}", *paired(by[one], by[other])) for one, other in _PAIRS]
    columns = ("subject", "different questions", *CONDITIONS)
    lines = tuple(
        line(condition, [figure.estimate for figure in figures if figure.name.endswith(f".{condition}")])
        for condition in CONDITIONS
    )
    return Report(
        name=settings.experiment,
        about={"model": model, "asked by": method, "seeds": settings.seeds, "share": settings.share, "k": settings.k},
        figures=tuple(figures),
        tables=(
            Table("Share of right answers", columns, tuple(rows)),
            Table("Pairs", ("subject", "compared", "difference", *PAIRED), tuple(pairs)),
        ),
        plots=(Plot(settings.name, "Right answers", "", "share of right answers", tuple(found), lines, kind="bars"),),
        notes=(
            f"left out, because their text or their answer as a sentence of three words or more stood in a store: {leaks}",
            "a question that several seeds ask is drawn as a whole for the intervals, and counts once in the test",
        ),
    )
