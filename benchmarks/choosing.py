"""Whether questions are answered as well from joined states as from prompts that are evaluated as a whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import trio

from benchmarks import quality, questions, significance
from benchmarks.questions import Material, Question
from benchmarks.report import Figure
from benchmarks.serving import K, noted
from espeer.lifecycle import calibration, prompts
from espeer.lifecycle.choice import Method, pick
from espeer.llm.engine import Engine
from espeer.llm.model import Model, Note, Run
from espeer.sim.experiments import estimates

CACHED, FULL = "accuracy_cached", "accuracy_full"


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a model chose right, and each choice's share of the probability."""

    right: bool
    shares: tuple[float, ...]


async def method_for(model: Model, *, measure: bool) -> Method:
    """Return the better way to ask a model.

    :param measure: take the half minute to measure it if it never was, in place of asking by text.
    """
    known = calibration.load(model.digest)
    if known is None:
        if not measure:
            return "text"
        engine = Engine(model)
        async with trio.open_nursery() as nursery:
            await nursery.start(engine.run)
            known = await calibration.measure(engine)
            nursery.cancel_scope.cancel()
        calibration.save(model.digest, known)
    return known.method


def accuracy(material: Material, joining: Model, whole: Model, count: int, *, method: Method) -> dict[str, Figure]:
    """Ask questions with what is recalled for them, of a model that joins kept states and of one that keeps none.

    :param joining: has the notes of a question warmed before it is asked.
    :param whole: the same weights.
    """
    index = questions.indexed(material.short_passages())
    asked = material.questions[:count]
    cached, full, plain = [], [], []
    for question in asked:
        notes = noted([key for key, _ in index.top_k(question.text, K)])
        _finish(joining, joining.warm(prompts.choose(question.text, question.choices, notes, method)[0], K))
        cached.append(answer(joining, question, notes, method))
        full.append(answer(whole, question, notes, method))
        plain.append(answer(whole, question, [], method))
    rights = {name: [one.right for one in side] for name, side in (("cached", cached), ("full", full), ("plain", plain))}
    pairs = estimates.discordant(rights["cached"], rights["full"])
    difference = quality.difference([*map(float, rights["cached"])], [*map(float, rights["full"])])
    apart = fmean(significance.divergence(ours.shares, theirs.shares) for ours, theirs in zip(cached, full, strict=True))
    same = fmean(_taken(ours) == _taken(theirs) for ours, theirs in zip(cached, full, strict=True))
    what = f"right of {len(asked)} by {method}, {K} recalled"
    only = f"{pairs.only_one} right only so, {pairs.only_other} only in full; exact McNemar p {pairs.p:.2g}"
    interval = f"95 % of resamples {100 * difference.low:+.1f} to {100 * difference.high:+.1f}; {only}"
    return {
        CACHED: Figure(f"{what}: joined", fmean(rights["cached"]), ""),
        FULL: Figure(f"{what}: full prefill", fmean(rights["full"]), ""),
        "accuracy_plain": Figure(f"right of {len(asked)} by {method}, none recalled", fmean(rights["plain"]), ""),
        "accuracy_lost_points": Figure(f"{what}: full less joined", -100 * difference.mean, "points", at_most=1, note=interval),
        "choice_divergence": Figure(
            f"{what}: mean divergence of the choices' shares", apart, "nats", note=f"same choice {same:.1%}"
        ),
    }


def answer(model: Model, question: Question, notes: Sequence[Note], method: Method) -> Answer:
    """Have a model choose."""
    prompt, continuations = prompts.choose(question.text, question.choices, notes, method)
    index, shares = pick(_finish(model, model.score(prompt, continuations)).scores, method)
    return Answer(index == question.answer, tuple(shares))


def _finish(model: Model, run: Run) -> Run:
    while not run.done:
        model.step([run])
    if run.error is not None:
        raise run.error
    run.close()
    return run


def _taken(one: Answer) -> int:
    return one.shares.index(max(one.shares))
