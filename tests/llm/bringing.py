"""Bring runs of a model to their end."""

from collections.abc import Sequence

from espeer.llm.model import Model, Prompt, Run, Sampling, Score


def bring(model: Model, run: Run) -> str:
    """Bring a run to its end; return what it said."""
    said = ""
    while not run.done:
        model.step([run])
        said += run.take()
    if run.error is not None:
        raise run.error
    return said


def answer(model: Model, prompt: Prompt, sampling: Sampling) -> str:
    return bring(model, model.generate(prompt, sampling))


def score(model: Model, prompt: Prompt, choices: Sequence[str]) -> list[Score]:
    run = model.score(prompt, choices)
    bring(model, run)
    return run.scores
