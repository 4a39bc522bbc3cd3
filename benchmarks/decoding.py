"""How fast answers go on after their first piece, how several go on together, and how soon one that nobody wants ends."""

import random
import time
from dataclasses import dataclass
from functools import partial

import trio

from benchmarks import significance
from benchmarks.llama_rival import Rival
from benchmarks.report import Figure, number
from benchmarks.serving import WARM_UP, Bench, in_turns
from benchmarks.timing import MILLI, Times
from espeer.lifecycle import prompts
from espeer.llm.engine import Engine
from espeer.llm.model import Prompt, Sampling

TOGETHER = 4
"""Interactive requests that come at once."""

_BARE = "llama.cpp's bare loop with espeer's settings"
_DEFAULT = "llama.cpp's bare loop with its own settings"
_TOKENS = 128
_FEWEST = 32
"""Tokens of an answer that is long enough to be timed."""
_LONG = 1500
"""Tokens of a prompt that takes seconds."""


@dataclass(frozen=True, slots=True)
class Said:
    """An answer: how many tokens came after its first piece, and in how many seconds."""

    tokens: int
    seconds: float

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds if self.seconds else 0.0


async def overhead(bench: Bench, count: int) -> dict[str, Figure]:
    """Compare with llama.cpp's bare loop, the same prompt and number of tokens: with espeer's settings, and with its own."""
    asked = [_at_length(question.text) for question in bench.material.questions[: count + WARM_UP]]
    said = [await _say(bench.engine, prompt) for prompt in asked]

    async def ours(place: int) -> float:
        return (await _say(bench.engine, asked[place])).rate

    with Rival(bench.rival.setup, espeers_openmp=True) as alike:

        async def bare(place: int) -> float:
            return alike.rate(bench.text(asked[place]), max(said[place].tokens, 1), as_espeer=True)

        async def default(place: int) -> float:
            return bench.rival.rate(bench.text(asked[place]), max(said[place].tokens, 1))

        calls = {"espeer": ours, _BARE: bare, _DEFAULT: default}
        taken = await in_turns(calls, count, before=_nothing, rest=bench.rest)
    long = [place for place in range(count) if said[place + WARM_UP].tokens >= _FEWEST]
    if not long:
        raise RuntimeError(f"none of {count} answers has {_FEWEST} tokens; ask more")
    rates = {name: [values[place] for place in long] for name, values in taken.items()}
    note = f"{len(long)} answers of {_FEWEST} to {_TOKENS} tokens"
    slower = {name: significance.ratio(rates[name], rates["espeer"]) for name in (_BARE, _DEFAULT)}

    def percent(name: str, *, at_most: float | None = None) -> Figure:
        what = f"decoding: how much faster {name} is"
        value = 100 * (slower[name].value - 1)
        return Figure(what, value, "%", at_most=at_most, note=f"the ratio: {slower[name]}; {note}")

    return {
        "decode_rate": Figure("decoding, espeer: p50", Times(tuple(rates["espeer"])).p50, "tokens/s"),
        "decode_rate_bare": Figure(f"decoding, {_BARE}: p50", Times(tuple(rates[_BARE])).p50, "tokens/s"),
        "decode_overhead_percent": percent(_BARE, at_most=3),
        "decode_below_default_percent": percent(_DEFAULT),
    }


async def together(bench: Bench, count: int) -> dict[str, Figure]:
    """Compare several interactive requests at once with the same ones after each other, prefill included."""
    texts = [question.text for question in bench.material.questions[: TOGETHER * (count + WARM_UP)]]
    asked = [_at_length(text) for text in texts]

    async def rate(at_once: bool, place: int) -> float:
        group = asked[TOGETHER * place : TOGETHER * (place + 1)]
        answers: list[str] = []

        async def say(prompt: Prompt) -> None:
            answers.append(await bench.engine.complete(prompt, Sampling(max_tokens=_TOKENS // 2)))

        started = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for prompt in group:
                if at_once:
                    nursery.start_soon(say, prompt)
                else:
                    await say(prompt)
        seconds = time.perf_counter() - started
        return sum(map(bench.engine.model.count, answers)) / seconds

    calls = {"at once": partial(rate, True), "in turn": partial(rate, False)}
    taken = await in_turns(calls, count, before=_nothing, rest=bench.rest)
    faster = significance.ratio(taken["at once"], taken["in turn"])
    what = f"{TOGETHER} requests at once / after each other, tokens/s"
    note = f"{faster}; after each other {number(Times(tuple(taken['in turn'])).p50)} tokens/s"
    return {"batching_speedup": Figure(what, faster.value, "x", at_least=1, note=note)}


async def cancelling(bench: Bench, count: int) -> dict[str, Figure]:
    """Measure from a cancellation until the caller goes on and the model is free, in prefill and while an answer comes."""
    rng = random.Random(1)  # noqa: S311 - nothing secret
    words = " ".join(bench.material.passages[:200])
    text = words[: len(words) * _LONG // max(bench.engine.model.count(words), _LONG)]
    figures = {}
    for where, prompt in (("prefill", text), ("decoding", "")):
        taken = []
        for place in range(count):
            question = bench.material.questions[place].text
            asked = _at_length(f"{question} {prompt}" if prompt else question)
            taken.append(await _cancelled(bench, asked, rng.uniform(0.05, 0.3), begun=where == "decoding"))
            await bench.rest()
        times = Times(tuple(taken))
        note = f"p50 {number(times.p50 * MILLI)} ms, longest {number(times.longest * MILLI)} ms, {count} cancelled"
        what = f"cancelled in {where}, until the model is free: p95"
        figures[f"cancel_{where}_ms"] = Figure(what, times.p95 * MILLI, "ms", at_most=50, note=note)
    return figures


async def _cancelled(bench: Bench, prompt: Prompt, seconds: float, *, begun: bool) -> float:
    """Return what it took; the caller is cancelled so many seconds after the beginning, or after the first piece."""
    first = trio.Event()
    cancelled = left = 0.0

    async def ask() -> None:
        nonlocal left
        try:
            async with bench.engine.stream(prompt, Sampling(max_tokens=2 * _TOKENS)) as pieces:
                async for _ in pieces:
                    first.set()
        finally:
            left = time.perf_counter()
            first.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        if begun:
            await first.wait()
        await trio.sleep(seconds)
        cancelled = time.perf_counter()
        nursery.cancel_scope.cancel()
    await bench.rest()
    await trio.to_thread.run_sync(bench.watched.wait)
    return max(left, bench.watched.ended, cancelled) - cancelled


async def _say(engine: Engine, prompt: Prompt) -> Said:
    pieces, first, last = [], 0.0, 0.0
    async with engine.stream(prompt, Sampling(max_tokens=_TOKENS)) as stream:
        async for piece in stream:
            last = time.perf_counter()
            first = first or last
            pieces.append(piece)
    return Said(engine.model.count("".join(pieces[1:])), last - first)


async def _nothing(_place: int) -> None:
    await trio.lowlevel.checkpoint()


def _at_length(question: str) -> Prompt:
    return prompts.ask(f"Explain in several paragraphs, with examples: {question}", [])
