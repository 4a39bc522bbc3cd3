"""How much hangs on BM25's k1 and b, and on how many experiences go into a prompt.

What recall finds is measured over a grid (:mod:`espeer.sim.experiments.grid`); what the model makes of it over a row of k,
on questions of a topic of which others were learnt from, and on some of those others, asked again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from espeer.lifecycle.choice import Method
from espeer.recall import Recall
from espeer.sim.experiments import grid, questions
from espeer.sim.experiments.estimates import Outcomes
from espeer.sim.experiments.grid import Grid, K
from espeer.sim.experiments.pupil import Pupil, recalling
from espeer.sim.experiments.questions import Item, Split
from espeer.sim.experiments.remembering import remembering
from espeer.sim.experiments.report import PAIRED, Figure, Line, Plot, Report, Table, line, measured, paired, shown
from espeer.sim.experiments.settings import Sensitivity
from espeer.sim.experiments.work import Work

NEW: Final = "new"
"""Questions that were not learnt from."""
AGAIN: Final = "again"
"""As many of those that were."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question's outcome with so many experiences at most: whether the model was right, and how many there were."""

    item: str
    which: str
    k: int
    right: bool
    recalled: int


async def run(settings: Sensitivity, work: Work) -> Report:
    """Do what is not done, and return what all of it came to."""
    found = await grid.search(settings, work)
    splits = {
        subject: questions.splits(questions.distinct(work.data, subject), settings.share, settings.seeds, most=settings.most)
        for subject in settings.subjects
    }
    async with remembering(settings.model or None, work) as engine:
        first = splits[settings.subjects[0]]
        pupil = await Pupil.of(engine, work, questions.never_tested(first.values()), support=settings.support)
        asked = {subject: await _subject(settings, pupil, subject, splits[subject]) for subject in settings.subjects}
        return _report(settings, found, asked, model=engine.model.name, method=pupil.method)


async def _subject(settings: Sensitivity, pupil: Pupil, subject: str, splits: Mapping[int, Split]) -> list[Asked]:
    learners = list(dict.fromkeys(item for split in splits.values() for item in split.train))
    told = await pupil.work.each(f"{subject}: learn", learners, pupil.learn)
    learnt = {item.id: one["experience"] for item, one in zip(learners, told, strict=True)}
    asked: list[Asked] = []
    for seed, split in splits.items():
        texts = [learnt[item.id] for item in split.train]
        known = set(questions.leaks(texts, split.test))
        test = [(NEW, item) for item in split.test if item.id not in known]
        test += [(AGAIN, item) for item in split.train[: len(split.test)]]
        with recalling(texts, pupil.engine.model.name) as recall:
            for k in grid.ks(settings):
                ask = partial(_ask, pupil, recall, seed, k)
                asked += await pupil.work.each(f"{subject}, seed {seed}: ask with {k}", test, ask)
    return asked


async def _ask(pupil: Pupil, recall: Recall, seed: int, k: int, which: tuple[str, Item]) -> Asked:
    of, item = which
    found = await pupil.ask(f"ask {k} {seed} {item.id}", item, recall, k=k) if k else await pupil.alone(item)
    return Asked(item.id, of, k, found["index"] == item.answer, found["recalled"])


# -- what it came to


def _outcomes(asked: Sequence[Asked], k: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for one in asked:
        if one.k == k:
            found.setdefault(one.item, []).append(float(one.right))
    return found


def _report(
    settings: Sensitivity, found: Mapping[str, Grid], asked: Mapping[str, Sequence[Asked]], *, model: str, method: Method
) -> Report:
    figures: list[Figure] = grid.figures(found)
    rows, lines = [], []
    for subject, every in asked.items():
        for which in (NEW, AGAIN):
            outcomes = [one for one in every if one.which == which]
            by = {k: _outcomes(outcomes, k) for k in grid.ks(settings)}
            made = {k: measured(f"{subject}.{which}.k {k}", by[k], better="higher") for k in by}
            figures += made.values()
            lines.append(line(f"{subject}, {which}", [figure.estimate for figure in made.values()]))
            rows += [_row((subject, which, str(len(by[k]))), k, made[k], by, outcomes) for k in by]
    columns = (
        "subject",
        "questions",
        "different questions",
        "k",
        "shown, mean",
        "share of right answers",
        f"difference to k = {K}",
        *PAIRED,
    )
    about = {"model": model, "asked by": method, "seeds": settings.seeds, "share": settings.share, "most": settings.most}
    return Report(
        name=settings.experiment,
        about=about,
        figures=tuple(figures),
        tables=(
            *grid.tables(found, settings.seeds),
            Table("Right answers by how many experiences may be shown", columns, tuple(rows)),
        ),
        plots=(*grid.plots(settings.name, found), _plot(settings, lines)),
        notes=(
            f"{NEW}: questions that nothing was learnt from; {AGAIN}: those that were learnt from, in the same words",
            "in the tables of k1 and b bold is the default",
            "differences are paired; of so many points some differ from the default by chance",
            "an experience that covers less than 15 % of a question's terms is not shown, so fewer than k may be",
        ),
    )


def _row(
    first: tuple[str, str, str], k: int, figure: Figure, by: Mapping[int, Outcomes], asked: Sequence[Asked]
) -> tuple[str, ...]:
    mean = [one.recalled for one in asked if one.k == k]
    cells = (*first, str(k), f"{sum(mean) / len(mean):.1f}", shown(figure.estimate))
    if k == K:
        return (*cells, "", "", "")
    return (*cells, *paired(by[k], by[K]))


def _plot(settings: Sensitivity, lines: Sequence[Line]) -> Plot:
    name = f"{settings.name}-k"
    return Plot(
        name, "Right answers", "experiences shown at most", "share of right answers", tuple(grid.ks(settings)), tuple(lines)
    )
