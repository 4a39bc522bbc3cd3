"""Experiences read anew, or taken back as KV states that the engine keeps: part of the experiment with LLM-native storage."""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from espeer.lifecycle import prompts
from espeer.lifecycle.choice import Method, pick
from espeer.llm.engine import Engine
from espeer.llm.model import Note, Prompt, Sampling, source_of
from espeer.sim.experiments.journal import digest
from espeer.sim.experiments.questions import Item
from espeer.sim.experiments.work import Work

ANEW: Final = "text"
FIRST: Final = "first"
KEPT: Final = "states"
KEPT_MB: Final = 512
"""Room for the states: all that is asked with at the same time."""

_OTHER: Final = prompts.ask("Ready?", [prompts.note("other", "Nothing is known of this yet.")])
"""Asked before what is timed: no sequence is left in the context then that holds a part of it."""


@dataclass(frozen=True, slots=True)
class Engines:
    """The same model twice.

    :ivar anew: keeps nothing: it reads each prompt as a whole.
    :ivar kept: keeps the states of notes.
    """

    anew: Engine
    kept: Engine


def noted(texts: Sequence[str]) -> tuple[Note, ...]:
    """Return texts as a prompt takes them."""
    return tuple(prompts.note(digest(text), text) for text in texts)


async def choose(engine: Engine, item: Item, notes: Sequence[Note], method: Method) -> bool:
    """Ask a question; return whether the model is right."""
    prompt, continuations = prompts.choose(item.question, item.choices, notes, method)
    return pick(await engine.score(prompt, continuations), method)[0] == item.answer


async def first_token(engines: Engines, work: Work, item: Item, notes: Sequence[Note]) -> Mapping[str, float]:
    """Return the milliseconds to the first token of an answer: read anew, with states made on the way, with states kept."""
    return dict(await work.once(f"time {item.id} {named(notes)}", partial(_timed, engines, item, notes)))


async def _timed(engines: Engines, item: Item, notes: Sequence[Note]) -> dict[str, float]:
    asked = prompts.ask(item.question, notes)
    found = {}

    async def states() -> None:
        engines.kept.forget([source_of(note.id) for note in notes])
        found[FIRST] = await _first(engines.kept, asked)
        found[KEPT] = await _first(engines.kept, asked)

    async def anew() -> None:
        found[ANEW] = await _first(engines.anew, asked)

    order = [states, anew]
    random.Random(item.id).shuffle(order)  # noqa: S311 - nothing secret
    for one in order:
        await one()
    return {name: round(ms, 2) for name, ms in found.items()}


_ONE: Final = Sampling(max_tokens=1)


async def _first(engine: Engine, asked: Prompt) -> float:
    await engine.complete(_OTHER, _ONE)
    started = time.perf_counter()
    await engine.complete(asked, _ONE)
    return (time.perf_counter() - started) * 1000


async def state_bytes(engine: Engine, work: Work, text: str) -> int:
    """Return how many bytes the state of an experience takes that is read in the first place; 0 for a model without."""

    async def measure() -> int:
        (note,) = noted([text])
        engine.forget([source_of(note.id)])
        await engine.warm(_OTHER, 1)  # the beginning of the prompts is kept from here on, and the note is not
        before = _held(engine)
        await engine.warm(prompts.ask("Ready?", [note]), 1)
        size = _held(engine) - before
        engine.forget([source_of(note.id)])
        return size

    return int(await work.once(f"bytes {digest(text)}", measure))


def _held(engine: Engine) -> int:
    statistics: Mapping[str, Any] = engine.model.statistics()
    return int(statistics.get("bytes", 0))


def named(notes: Sequence[Note]) -> str:
    """Return a short name of notes, for a key."""
    return digest([note.id for note in notes])
