"""Whether a node that answers for hours needs more and more memory. In a process of its own: so is its memory its own."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import trio

from benchmarks import questions, timing
from benchmarks.first_token import TYPE, filled
from benchmarks.report import Figure, number
from benchmarks.serving import K
from espeer import Config, Node
from espeer.folder import store_path
from espeer.llm.llama import LlamaModel
from espeer.store import Store

_SHARE = 10
"""Compared are the first and the last tenth of the asks."""
_ANSWER_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """What the process held after each ask, in bytes, and how many seconds all of them took."""

    resident: tuple[int, ...]
    seconds: float


def endurance(model: Path, data: Path | None, count: int, different: int) -> dict[str, Figure]:
    """Ask a node in a row, with experiences.

    :param different: how many questions there are to ask. All are asked once before, which fills the caches up to their bounds.
    """
    if not timing.memory_is_shown():
        return {}
    asked = timing.in_own_process(ask_in_a_row, model, data, count, different)
    part = max(1, count // _SHARE)
    first, last = fmean(asked.resident[:part]), fmean(asked.resident[-part:])
    what = f"resident memory, last {part} of {count:,} asks against first {part}"
    note = (
        f"{number(first / 1e6)} MB, then {number(last / 1e6)} MB; after {different} that filled the caches; "
        f"{number(asked.seconds / count * timing.MILLI)} ms an ask"
    )
    return {"memory_growth_percent": Figure(what, 100 * (last / first - 1), "%", at_most=2, note=note)}


def ask_in_a_row(model: Path, data: Path | None, count: int, different: int) -> Asked:
    """Ask."""
    return trio.run(_ask, model, data, count, different)


async def _ask(model: Path, data: Path | None, count: int, different: int) -> Asked:
    material = questions.load(data)
    loaded = LlamaModel.load(model)
    with TemporaryDirectory() as folder:
        _fill(Path(folder), material.notes(loaded.count))
        config = Config(
            data=Path(folder),
            offline=True,
            types=(TYPE,),
            recall=K,
            answer_tokens=_ANSWER_TOKENS,
            learning=False,
            refining=False,
        )
        asked = [question.text for question in material.questions[:different]]
        resident: list[int] = []
        async with Node(config, model=loaded) as node:
            for question in asked:
                await node.ask(question)
            started = time.perf_counter()
            for _, question in zip(range(count), cycle(asked), strict=False):
                await node.ask(question)
                resident.append(timing.resident_bytes(tidy=False))
            return Asked(tuple(resident), time.perf_counter() - started)


def _fill(folder: Path, texts: Sequence[str]) -> None:
    store = Store.open(store_path(folder))
    filled(store, texts)
    store.close()
