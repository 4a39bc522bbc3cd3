"""Generalised experience (paper, section 4): whether what was learnt from some questions of a topic helps with others.

Some of a topic's questions are answered by the model and told right or wrong; what is distilled from that is put into the
prompts of the others. Beside it stand the plain model, and one that is shown the raw interactions instead.
Whatever is recalled goes through the same index, the same packing and the same prompt.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from espeer import records
from espeer.inference import Inference
from espeer.interaction import Interaction
from espeer.lifecycle import calibration
from espeer.lifecycle.choice import Method
from espeer.lifecycle.distil import distil
from espeer.llm.engine import Engine
from espeer.llm.shared import shared_model
from espeer.p2p.identity import SEED_SIZE, Identity
from espeer.recall import Recall
from espeer.records import MAX_TEXT, Experience
from espeer.replica import Replica
from espeer.sim.experiments import questions
from espeer.sim.experiments.estimates import Estimate, Outcomes, difference, discordant
from espeer.sim.experiments.questions import Item, Split
from espeer.sim.experiments.report import Figure, Line, Plot, Report, Table, measured, shown, signed
from espeer.sim.experiments.settings import Generalised
from espeer.sim.experiments.work import Work
from espeer.store import Store
from espeer.tasks import in_thread
from espeer.tokens import Tokenizer

PLAIN: Final = "plain"
MEMORY: Final = "memory"
EXPERIENCE: Final = "experience"
CONDITIONS: Final = (PLAIN, MEMORY, EXPERIENCE)

_TYPE: Final = "topic"
_CREATED: Final = 1_700_000_000_000
"""Records are made at the same moment always: their ids are the same in every run, and equal scores come in the same order."""


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

    :ivar leaks: how often a test question, or its answer as a sentence, stood in a store.
    """

    asked: list[Asked]
    leaks: int


async def run(settings: Generalised, work: Work) -> Report:
    """Do what is not done, and return what all of it came to."""
    async with shared_model(settings.model or None) as engine:
        method: Method = await work.once("method", partial(_method, engine))
        asked = {subject: await _subject(settings, work, engine, method, subject) for subject in settings.subjects}
        return _report(settings, asked, model=engine.model.name, method=method)


async def _method(engine: Engine) -> Method:
    return (await calibration.measure(engine)).method


async def _subject(settings: Generalised, work: Work, engine: Engine, method: Method, subject: str) -> Outcome:
    items = questions.without_repeats(questions.load(work.data, subject))
    splits = {seed: questions.split(items, settings.share, seed, most=settings.most) for seed in settings.seeds}
    told: dict[str, dict[str, str]] = {}
    learners = dict.fromkeys(item for split in splits.values() for item in split.train)
    with work.phase(f"{subject}: learn", len(learners)) as tick:
        for item in learners:
            told[item.id] = await _learnt(settings, work, engine, method, item)
            tick()
    outcomes = []
    with work.phase(f"{subject}: ask", sum(len(split.test) for split in splits.values()) * len(CONDITIONS)) as tick:
        for seed, split in splits.items():
            outcomes += await _ask_all(settings, work, engine, method, seed=seed, split=split, told=told, tick=tick)
    return Outcome(outcomes, sum(_leaks(split, told) for split in splits.values()))


async def _learnt(settings: Generalised, work: Work, engine: Engine, method: Method, item: Item) -> dict[str, str]:
    """Answer a question without help, be told what is right, and distil that; return the interaction and what came of it."""

    async def make() -> dict[str, str]:
        found = await _plain(work, engine, method, item)
        said = item.choices[found["index"]]
        verdict = "Right" if found["index"] == item.answer else f"Wrong: the right answer is {item.right!r}"
        outcome = f"{verdict}. {item.support}".strip() if settings.support and item.support else f"{verdict}."
        interaction = Interaction(1, _CREATED, item.question, said, outcome, "user", _TYPE)
        distilled = await distil(engine, [interaction])
        raw = f"Question: {item.question} Answer: {said} Outcome: {outcome}"
        return {MEMORY: _bounded(raw), EXPERIENCE: distilled.text, "method": distilled.method}

    result: dict[str, str] = await work.once(f"learn {item.id}", make)
    return result


async def _plain(work: Work, engine: Engine, method: Method, item: Item) -> dict[str, Any]:
    async def make() -> dict[str, Any]:
        nothing = Recall(None, None, types=(_TYPE,), terms=Tokenizer(), seconds=1, ask_peers=False)
        return await _choose(engine, nothing, item, k=0, method=method)

    result: dict[str, Any] = await work.once(f"ask {PLAIN} {item.id}", make)
    return result


async def _ask_all(
    settings: Generalised,
    work: Work,
    engine: Engine,
    method: Method,
    *,
    seed: int,
    split: Split,
    told: Mapping[str, Mapping[str, str]],
    tick: Callable[[], None],
) -> list[Asked]:
    outcomes = []
    for condition in CONDITIONS:
        texts = [] if condition == PLAIN else [told[item.id][condition] for item in split.train]
        store = await in_thread(Store.open, Path(":memory:"))
        try:
            replica = await in_thread(_replica, store, texts, engine.model.name)
            recall = Recall(replica, None, types=(_TYPE,), terms=Tokenizer(), seconds=1, ask_peers=False)
            for item in split.test:
                found = await (
                    _plain(work, engine, method, item)
                    if condition == PLAIN
                    else work.once(
                        f"ask {condition} {seed} {item.id}",
                        partial(_choose, engine, recall, item, k=settings.k, method=method),
                    )
                )
                outcomes.append(Asked(seed, item.id, condition, found["index"] == item.answer))
                tick()
        finally:
            store.close()
    return outcomes


async def _choose(engine: Engine, recall: Recall, item: Item, *, k: int, method: Method) -> dict[str, Any]:
    inference = Inference(engine, recall, answer_tokens=1, answer_seconds=None)
    choice = await inference.choose(item.question, item.choices, recall=k, type=None, method=method)
    return {
        "index": choice.index,
        "confidence": round(choice.confidence, 4),
        "recalled": len(choice.experiences),
        "ms": round(choice.elapsed_ms, 1),
    }


def _replica(store: Store, texts: Sequence[str], model: str) -> Replica:
    """Put texts into a replica, as a node would hold them."""
    replica = Replica(store, types=(_TYPE,), clock=lambda: _CREATED)
    identity = Identity(bytes(SEED_SIZE))
    signed = [
        records.sign(Experience(_TYPE, text, _CREATED, identity.public, model, "distilled"), identity.sign)
        for text in dict.fromkeys(texts)
    ]
    replica.add(signed, via="own")
    return replica


def _bounded(text: str) -> str:
    """Cut a raw interaction to what a record may hold."""
    return text.encode()[:MAX_TEXT].decode(errors="ignore")


def _leaks(split: Split, told: Mapping[str, Mapping[str, str]]) -> int:
    """Count the test questions that stand in what is recalled from, by either way of learning."""
    return sum(
        len(questions.leaks([told[item.id][condition] for item in split.train], split.test))
        for condition in (MEMORY, EXPERIENCE)
    )


# -- what it came to


def _outcomes(asked: Sequence[Asked], condition: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for one in asked:
        if one.condition == condition:
            found.setdefault(one.item, []).append(float(one.right))
    return found


def _pairs(outcomes: Outcomes) -> list[bool]:
    return [bool(value) for key in sorted(outcomes) for value in outcomes[key]]


def _report(settings: Generalised, found: Mapping[str, Outcome], *, model: str, method: Method) -> Report:
    figures: list[Figure] = []
    rows, paired = [], []
    for subject, outcome in found.items():
        by = {condition: _outcomes(outcome.asked, condition) for condition in CONDITIONS}
        made = {condition: measured(f"{subject}.{condition}", by[condition], better="higher") for condition in CONDITIONS}
        figures += made.values()
        rows.append((subject, str(len(by[PLAIN])), *(shown(made[condition].estimate) for condition in CONDITIONS)))
        for other in (PLAIN, MEMORY):
            apart = discordant(_pairs(by[EXPERIENCE]), _pairs(by[other]))
            gain = difference(by[EXPERIENCE], by[other])
            counts = f"{apart.only_one} / {apart.only_other}"
            paired.append((subject, f"experience over {other}", signed(gain), counts, f"{apart.p:.3f}"))
    leaks = sum(outcome.leaks for outcome in found.values())
    columns = ("subject", "questions", *CONDITIONS)
    lines = tuple(
        _line(condition, [figure.estimate for figure in figures if figure.name.endswith(f".{condition}")])
        for condition in CONDITIONS
    )
    return Report(
        name=settings.experiment,
        about={"model": model, "asked by": method, "seeds": settings.seeds, "share": settings.share, "k": settings.k},
        figures=tuple(figures),
        tables=(
            Table("Share of right answers", columns, tuple(rows)),
            Table(
                "Pairs",
                ("subject", "compared", "difference", "right only with it / only without", "p (McNemar, exact)"),
                tuple(paired),
            ),
        ),
        plots=(Plot(settings.name, "Right answers", "", "share of right answers", tuple(found), lines, kind="bars"),),
        notes=(
            f"test questions whose text, or whose answer as a sentence of three words or more, stands in a store: {leaks}",
            "a question that is in the tests of several seeds is drawn as a whole for the intervals; McNemar counts each time",
        ),
    )


def _line(label: str, estimates: Sequence[Estimate]) -> Line:
    return Line(label, *(tuple(getattr(one, part) for one in estimates) for part in ("value", "low", "high")))
