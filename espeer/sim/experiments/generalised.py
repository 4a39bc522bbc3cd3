"""Generalised experience (paper, section 4): whether what was learnt from some questions of a topic helps with others.

Some of a topic's questions are answered by the model and told right or wrong; what is distilled from that is put into the
prompts of the others. Beside it stand the plain model, and one that is shown the raw interactions instead.
Whatever is recalled goes through the same index, the same packing and the same prompt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
CONDITIONS: Final = (PLAIN, MEMORY, EXPERIENCE)
_ALL: Final = "all subjects"


@dataclass(frozen=True, slots=True)
class Asked:
    """A test question's outcome: seed, item, condition, and whether the model was right."""

    seed: int
    item: str
    condition: str
    right: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a subject.

    :ivar leaks: how often a test question, or its answer as a sentence, stood in a store. It was left out then.
    """

    asked: list[Asked]
    leaks: int


async def run(settings: Generalised, work: Work) -> Report:
    """Do what is not done, and return what all of it came to."""
    splits = {
        subject: questions.splits(questions.distinct(work.data, subject), settings.share, settings.seeds, most=settings.most)
        for subject in settings.subjects
    }
    async with shared_model(settings.model or None) as engine:
        pupil = await Pupil.of(
            engine, work, questions.never_tested(splits[settings.subjects[0]].values()), support=settings.support
        )
        found = {subject: await _subject(settings, pupil, subject, splits[subject]) for subject in settings.subjects}
        return _report(settings, found, model=engine.model.name, method=pupil.method)


async def _subject(settings: Generalised, pupil: Pupil, subject: str, splits: Mapping[int, Split]) -> Outcome:
    learners = list(dict.fromkeys(item for split in splits.values() for item in split.train))
    made = await pupil.work.each(f"{subject}: learn", learners, pupil.learn)
    told = {item.id: one for item, one in zip(learners, made, strict=True)}
    asked = []
    leaks = 0
    for seed, split in splits.items():
        known = set(questions.leaks([text for condition in CONDITIONS for text in _texts(split, told, condition)], split.test))
        test = [item for item in split.test if item.id not in known]
        leaks += len(known)
        for condition in CONDITIONS:
            texts = _texts(split, told, condition)
            with recalling(texts, pupil.engine.model.name) as recall:
                ask = partial(_ask, pupil, recall, seed, condition, k=settings.k)
                asked += await pupil.work.each(f"{subject}, seed {seed}: ask {condition}", test, ask)
    return Outcome(asked, leaks)


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
        case "experience":
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
        pairs += [(subject, f"experience over {other}", *paired(by[EXPERIENCE], by[other])) for other in (PLAIN, MEMORY)]
    columns = ("subject", "questions", *CONDITIONS)
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
