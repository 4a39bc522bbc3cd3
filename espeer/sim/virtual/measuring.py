"""Measures a model's profile: its evaluations by llama.cpp alone, and whole tasks as a node has them done."""

import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import trio

from espeer.config import Config
from espeer.demo import incidents
from espeer.demo.incidents import Incident
from espeer.interaction import Interaction
from espeer.lifecycle import prompts
from espeer.lifecycle.condense import condense
from espeer.lifecycle.distil import distil
from espeer.llm import speed
from espeer.llm.context import step_tokens
from espeer.llm.cores import processor
from espeer.llm.engine import Engine
from espeer.llm.gguf import read
from espeer.llm.loading import open_file
from espeer.llm.model import Note, Prompt, Sampling
from espeer.llm.shared import shared_model
from espeer.sim.texts import report
from espeer.sim.virtual.profile import Profile

SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128)
"""Tokens of the evaluations that are timed."""
TRIES: Final = 9
"""So many incidents are learnt and asked about; each time is the median."""
_NOTES: Final = 3
_KEEP: Final = 128 * 1024 * 1024
_ANSWER: Final = Sampling(max_tokens=32)


def measure(path: Path, *, threads: int) -> Profile:
    """Measure a model with so many threads: about half a minute for a small one.

    :param path: the file that a node would run.
    :raises ModelUnreadable: llama.cpp cannot load it.
    """
    with speed.trial(path) as opened:
        times = opened.evaluations(threads, SIZES)
    evaluate = tuple((size, round(max(seconds * 1000, 0.001), 3)) for size, seconds in zip(SIZES, times, strict=True))
    return trio.run(_with_tasks, path, threads, evaluate)


async def _with_tasks(path: Path, threads: int, evaluate: tuple[tuple[int, float], ...]) -> Profile:
    began = time.perf_counter()
    model = open_file(path, threads=threads, keep=_KEEP)
    load = time.perf_counter() - began
    texts = incidents.load()[:TRIES]
    async with shared_model(model) as engine:
        notes = [prompts.note(one.id, f"{one.report} {one.cure}") for one in texts]
        characters = sum(len(note.text) for note in notes)
        tokens = sum(model.count(note.text) for note in notes)
        await engine.complete(prompts.ask("What is it?", notes[:1]), _ANSWER)
        before = model.statistics().get("bytes", 0)
        for note in notes:
            await engine.warm(prompts.ask("", [note]), 1)
        kept = (model.statistics().get("bytes", 0) - before) / max(1, sum(model.count(note.text) for note in notes[1:]))
        profile = Profile(
            model=model.name,
            machine=f"{processor()}, {threads} threads",
            threads=threads,
            load_s=round(load, 3),
            evaluate_ms=evaluate,
            restore_ms=0.0,
            answer_ms=0.0,
            answer_tokens=0,
            lesson_tokens=0,
            step=step_tokens(read(path).parameters),
            context=model.context,
            characters_per_token=round(characters / tokens, 3),
            bytes_per_token=max(1, round(kept)),
        )
        return await _with_times(engine, profile, texts, notes)


async def _with_times(engine: Engine, profile: Profile, texts: Sequence[Incident], notes: Sequence[Note]) -> Profile:
    groups = [[notes[(place + step) % len(notes)] for step in range(_NOTES)] for place in range(len(notes))]
    for group in groups:
        await engine.warm(prompts.ask("", group), _NOTES)
    with_notes = [prompts.ask(one.question, group) for one, group in zip(texts, groups, strict=True)]
    alone = [prompts.ask(one.question, ()) for one in texts]
    pairs = [[f"{one.report} {one.cure}", f"Again: {one.report} {one.cure}"] for one in texts]
    scored = [prompts.choose(one.question, one.choices, (), "text") for one in texts]
    found = {
        "first token, alone": await _median([partial(_first, engine, one) for one in alone]),
        "first token, with 3 notes kept": await _median([partial(_first, engine, one) for one in with_notes]),
        "answer of 32 tokens": await _median([partial(engine.complete, one, _ANSWER) for one in with_notes]),
        "choose": await _median([partial(engine.score, *one) for one in scored]),
        "distil": await _median([partial(distil, engine, [_interaction(one)]) for one in texts]),
        "condense": await _median([partial(condense, engine, two) for two in pairs]),
    }
    told = [report(number, 0) for number in range(len(texts))]  # what simulations ask, and are told
    lessons = [prompts.note(f"told {number}", f"{one.text} {one.feedback}") for number, one in enumerate(told)]
    asked = [prompts.ask(f"{one.text} What now?", [lessons[place], *notes[:2]]) for place, one in enumerate(told)]
    answers = [await engine.complete(one, _WHOLE) for one in asked]
    # both go on from a kept beginning, and have the same question behind it
    restore = (found["first token, with 3 notes kept"] - found["first token, alone"]) / _NOTES
    tail = statistics.median(engine.model.count(one.question) + _TURN for one in texts)
    beside = found["first token, alone"] - profile.seconds(round(tail)) * 1000
    return Profile(
        **{name: getattr(profile, name) for name in Profile.__dataclass_fields__}
        | {
            "restore_ms": round(max(0.0, restore), 3),
            "answer_ms": round(max(0.0, beside), 3),
            "answer_tokens": round(statistics.median(map(engine.model.count, answers))),
            "lesson_tokens": max(1, round((found["distil"] / 1000 - profile.seconds(_LESSON)) / profile.seconds(1))),
            "tasks_ms": {name: round(value, 1) for name, value in found.items()},
        }
    )


_WHOLE: Final = Sampling(max_tokens=Config().answer_tokens)
_LESSON: Final = 64
"""About so many tokens of a distillation's prompt are not kept from the one before."""
_TURN: Final = 8
"""About so many tokens of the chat template stand around a question."""


async def _median(tasks: Sequence[Callable[[], Awaitable[object]]]) -> float:
    """Return the median milliseconds of some tasks of a kind, done one after the other; the first is for practice."""
    times = []
    for task in tasks:
        began = time.perf_counter()
        await task()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times[1:])


async def _first(engine: Engine, prompt: Prompt) -> None:
    async with engine.stream(prompt, _ANSWER) as pieces:
        async for _ in pieces:
            return


def _interaction(incident: Incident) -> Interaction:
    return Interaction(0, 0, incident.report, incident.attempt, incident.cure)
