"""How long the first piece of an answer takes: with experiences, without, and with llama-cpp-python."""

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
from nacl.signing import SigningKey

from benchmarks import significance
from benchmarks.report import Figure, number
from benchmarks.serving import WARM_UP, Bench, K, first_piece, in_turns
from benchmarks.timing import MILLI, Times
from espeer import conversation, records
from espeer.asking import AskOptions
from espeer.demo import incidents
from espeer.inference import Inference
from espeer.interaction import Interaction
from espeer.lifecycle import prompts
from espeer.lifecycle.condense import condense
from espeer.lifecycle.distil import distil
from espeer.llm.engine import Engine
from espeer.llm.model import Prompt
from espeer.recall import Recall
from espeer.records import Experience, SignedRecord
from espeer.replica import Hit, Replica
from espeer.store import Store
from espeer.tokens import Tokenizer

RATIO, SPEEDUP = "ttft_ratio_over_plain", "speedup_over_full_prefill"

TYPE = "science"
_HEAD_START = (0.1, 0.5)
"""Seconds that background work has had the model to itself when a question comes."""


async def against_others(bench: Bench, count: int) -> dict[str, Figure]:
    """Measure with four warm experiences, without any, and by llama-cpp-python, each question in turn."""
    cases = bench.cases(count)
    texts = [(bench.text(case.asked), bench.text(case.plain)) for case in cases]

    async def warm(place: int) -> None:
        await bench.engine.warm(cases[place].asked, K)
        await bench.engine.warm(cases[place].plain, K)

    async def rival(which: int, place: int) -> float:
        return bench.rival.first(texts[place][which])

    calls: dict[str, Callable[[int], Awaitable[float]]] = {
        "experiences": lambda place: first_piece(bench.engine, cases[place].asked),
        "plain": lambda place: first_piece(bench.engine, cases[place].plain),
        "rival": partial(rival, 0),
        "rival, plain": partial(rival, 1),
    }
    taken = await in_turns(calls, count, before=warm, rest=bench.rest)

    what = f"first piece, {K} warm experiences"
    over = significance.ratio(taken["experiences"], taken["plain"])
    tail = significance.ratio(taken["experiences"], taken["plain"], percentile=95)
    figures = {
        "ttft_ms": _figure(what, taken["experiences"], bench, [case.asked for case in cases]),
        "ttft_plain_ms": _figure("first piece, no experiences", taken["plain"], bench, [case.plain for case in cases]),
        RATIO: Figure(f"{what} / none, p50", over.value, "x", at_most=1.2, note=str(over)),
        f"{RATIO}_p95": Figure(f"{what} / none, p95", tail.value, "x", note=str(tail)),
    }
    speed = significance.ratio(taken["rival"], taken["experiences"])
    plain = significance.ratio(taken["rival, plain"], taken["plain"])
    return figures | {
        "ttft_rival_ms": _figure(f"first piece, llama-cpp-python, {K} experiences", taken["rival"], bench),
        "ttft_rival_plain_ms": _figure("first piece, llama-cpp-python, no experiences", taken["rival, plain"], bench),
        SPEEDUP: Figure(f"llama-cpp-python / espeer, {K} experiences, p50", speed.value, "x", at_least=5, note=str(speed)),
        "speedup_plain": Figure("llama-cpp-python / espeer, no experiences, p50", plain.value, "x", note=str(plain)),
    }


async def by_inference(bench: Bench, count: int) -> dict[str, Figure]:
    """Measure as a node answers: recall from a replica, packing into the prompt, and the first piece."""
    cases = bench.cases(count)
    with _inference(bench.engine, bench.material.notes(bench.engine.model.count)) as (inference, recalled):
        found = [recalled(case.question) for case in cases]

        async def warm(place: int) -> None:
            notes = [prompts.note(hit.id, hit.experience.text) for hit in found[place]]
            await bench.engine.warm(prompts.ask(cases[place].question, notes), K)
            await bench.engine.warm(cases[place].plain, K)

        async def ask(recall: int, place: int) -> float:
            started = time.perf_counter()
            question = cases[place].question
            asked = conversation.read(question)
            async with inference.stream(asked, recall=recall, type=None, options=AskOptions(), capture=_forget) as pieces:
                async for _ in pieces:
                    break
                return time.perf_counter() - started

        calls = {"experiences": partial(ask, K), "plain": partial(ask, 0)}
        taken = await in_turns(calls, count, before=warm, rest=bench.rest)
    over = significance.ratio(taken["experiences"], taken["plain"])
    what = f"first piece as a node answers, {K} recalled and warm"
    mean = sum(map(len, found[WARM_UP:])) / count
    return {
        "ttft_node_ms": _figure(what, taken["experiences"], bench),
        "ttft_node_ratio_over_plain": Figure(
            f"{what} / recall 0, p50", over.value, "x", at_most=1.2, note=f"{over}; {mean:.1f} recalled on average"
        ),
    }


async def under_load(bench: Bench, count: int) -> dict[str, Figure]:
    """Measure while the model distils and refines all the time, and while it does nothing else, in turn."""
    cases = bench.cases(2 * count + WARM_UP)
    rng = random.Random(1)  # noqa: S311 - nothing secret

    async def warm(place: int) -> None:
        for case in cases[2 * place : 2 * place + 2]:
            await bench.engine.warm(case.asked, K)

    async def busy(place: int) -> float:
        async with _background(bench.engine):
            await trio.sleep(rng.uniform(*_HEAD_START))
            return await first_piece(bench.engine, cases[2 * place + 1].asked)

    calls: dict[str, Callable[[int], Awaitable[float]]] = {
        "idle": lambda place: first_piece(bench.engine, cases[2 * place].asked),
        "busy": busy,
    }
    taken = await in_turns(calls, count, before=warm, rest=bench.rest)
    over = significance.ratio(taken["busy"], taken["idle"])
    what = "first piece while distilling and refining"
    return {
        "ttft_busy_ms": _figure(what, taken["busy"], bench),
        "ttft_ratio_busy_over_idle": Figure(f"{what} / idle, p50", over.value, "x", at_most=1.3, note=str(over)),
    }


def _figure(what: str, seconds: Sequence[float], bench: Bench, asked: Sequence[Prompt] = ()) -> Figure:
    times = Times(tuple(seconds))
    note = f"p95 {number(times.p95 * MILLI)} ms, {len(seconds)} questions"
    if asked:
        sizes = sorted(map(bench.engine.model.size, asked))
        note += f", prompts of {sizes[0]} to {sizes[-1]} tokens"
    return Figure(f"{what}: p50", times.p50 * MILLI, "ms", note=note)


# -- a node's way to answer


@contextmanager
def _inference(engine: Engine, notes: Sequence[str]) -> Iterator[tuple[Inference, Callable[[str], list[Hit]]]]:
    """Give inference over a replica that holds the notes, and what tells which of them it recalls for a question."""
    with TemporaryDirectory() as folder:
        store = Store.open(Path(folder) / "store.db")
        try:
            replica = filled(store, notes)
            terms = Tokenizer(language="english")
            recall = Recall(replica, None, types=(TYPE,), terms=terms, seconds=1.0, ask_peers=False)
            inference = Inference(engine, recall, answer_tokens=64, answer_seconds=60.0)
            yield inference, lambda question: replica.recall(question, K)
        finally:
            store.close()


def filled(store: Store, texts: Sequence[str]) -> Replica:
    """Return a replica of experiences that another node made."""
    key = SigningKey(bytes(range(32)))

    def signed(text: str, created: int) -> SignedRecord:
        experience = Experience(TYPE, text, created, bytes(key.verify_key), "benchmark", "distilled")
        return records.sign(experience, lambda digest: key.sign(digest).signature)

    replica = Replica(store, types=(TYPE,), clock=lambda: time.time_ns() // 1_000_000)
    replica.add([signed(text, number) for number, text in enumerate(texts)], via="gossip")
    return replica


async def _forget(_question: str, _response: str, _used: Sequence[Hit]) -> int:
    await trio.lowlevel.checkpoint()
    return 0


# -- what else a node's model does


@asynccontextmanager
async def _background(engine: Engine) -> AsyncIterator[None]:
    """Distil and condense within the block, one after the other without a pause."""
    known = incidents.load()

    async def distilling() -> None:
        for one in cycle(known):
            await distil(engine, [Interaction(0, 0, one.report, one.attempt, one.cure)])

    async def refining() -> None:
        for one in cycle(known):
            await condense(engine, [f"{one.report} {one.cure}", f"{one.cure} {one.attempt}"])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(distilling)
        nursery.start_soon(refining)
        yield
        nursery.cancel_scope.cancel()
