"""The engine beside llama-cpp-python: each aim and what is measured.

    python -m benchmarks.ttft [--data DIR] [--model FILE] [--quick] [--only PART] [--json [FILE]]

Both have the same weights, the same prompts and the same number of threads. llama-cpp-python runs in a process of its own,
where its threads wait as OpenMP lets them by default or as espeer lets them, whichever is the faster. What is compared comes in
turns, for each question in another order. Nothing is asserted.
"""

import argparse
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import trio

from benchmarks import choosing, data, decoding, endurance, first_token, questions, report
from benchmarks.llama_rival import Setup, fastest
from benchmarks.report import Figure
from benchmarks.serving import Bench, Watched
from espeer.llm.cores import usable_cores
from espeer.llm.engine import Engine
from espeer.llm.llama import LlamaModel
from espeer.llm.weights import optimised, resolve


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured.

    :ivar asked: questions whose first piece is timed.
    :ivar loaded: of them, under load.
    :ivar chosen: questions of the accuracy.
    :ivar decoded: answers whose tokens are timed.
    :ivar grouped: groups of requests that come at once.
    :ivar cancelled: requests that are cancelled, in prefill and while the answer comes.
    :ivar in_a_row: asks of one node.
    :ivar different: the questions that it is asked again and again.
    """

    asked: int
    loaded: int
    chosen: int
    decoded: int
    grouped: int
    cancelled: int
    in_a_row: int
    different: int


FULL = Size(asked=100, loaded=40, chosen=300, decoded=24, grouped=12, cancelled=40, in_a_row=1000, different=50)
QUICK = Size(asked=4, loaded=2, chosen=8, decoded=2, grouped=1, cancelled=4, in_a_row=60, different=8)


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line gives."""

    model: Path
    data: Path | None
    size: Size
    threads: int

    @property
    def quick(self) -> bool:
        """Whether it only shows that it works."""
        return self.size is QUICK


Figures = dict[str, Figure]


async def _accuracy(bench: Bench, given: Given) -> Figures:
    whole = LlamaModel.load(given.model, threads=given.threads, keep=0)
    try:
        method = await choosing.method_for(whole, measure=not given.quick)
        return choosing.accuracy(bench.material, bench.watched, whole, given.size.chosen, method=method)
    finally:
        whole.close()


async def _memory(_bench: Bench, given: Given) -> Figures:
    size = given.size
    return await trio.to_thread.run_sync(endurance.endurance, given.model, given.data, size.in_a_row, size.different)


PARTS: dict[str, Callable[[Bench, Given], Awaitable[Figures]]] = {
    "first": lambda bench, given: first_token.against_others(bench, given.size.asked),
    "node": lambda bench, given: first_token.by_inference(bench, given.size.asked),
    "load": lambda bench, given: first_token.under_load(bench, given.size.loaded),
    "decode": lambda bench, given: decoding.overhead(bench, given.size.decoded),
    "batch": lambda bench, given: decoding.together(bench, given.size.grouped),
    "cancel": lambda bench, given: decoding.cancelling(bench, given.size.cancelled),
    "accuracy": _accuracy,
    "memory": _memory,
}


async def measure(given: Given, parts: Sequence[str]) -> tuple[str, Figures]:
    """Measure; return where the texts are from, and the figures by name."""
    material = questions.load(given.data)
    model = LlamaModel.load(given.model, threads=given.threads)
    print(f"on {material.source}; {model.name}, {given.threads} threads", flush=True)
    figures: Figures = {}
    with ExitStack() as stack:
        stack.callback(model.close)
        setup = Setup(given.model, model.context, given.threads)
        rival = stack.enter_context(fastest(setup))
        print(f"llama-cpp-python's threads wait {rival.waits}, which is the faster here", flush=True)
        watched: Any = Watched(model)
        engine = Engine(watched)
        bench = Bench(engine, watched, rival, material, model._chat)  # noqa: SLF001 - nobody else wants the text of a prompt
        async with trio.open_nursery() as nursery:
            await nursery.start(engine.run)
            for name in parts:
                started = trio.current_time()
                figures |= await PARTS[name](bench, given)
                print(f"{name}: measured in {trio.current_time() - started:.0f} s", file=sys.stderr, flush=True)
            nursery.cancel_scope.cancel()
    return material.source, figures


def main() -> int:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    data.add_option(parser)
    parser.add_argument("--model", metavar="FILE", help="GGUF; by default espeer's default model")
    parser.add_argument("--quick", action="store_true", help="little of everything, in some two minutes: shows that it works")
    parser.add_argument("--only", action="append", choices=PARTS, help="measure this part; may be given several times")
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="write the figures here; by default as the last line printed"
    )
    options = parser.parse_args()
    machine = report.machine()
    print(report.described(machine))
    given = Given(optimised(resolve(options.model)), options.data, QUICK if options.quick else FULL, usable_cores())
    source, figures = trio.run(measure, given, options.only or list(PARTS))
    print(f"\n{report.figures_table(list(figures.values()))}\n", flush=True)
    reached = [one.reached for one in figures.values()]
    print(f"{reached.count(True)} aims reached, {reached.count(False)} missed", flush=True)
    if options.json:
        content: dict[str, Any] = {name: one.value for name, one in figures.items()}
        content |= {"machine": machine, "data": source, "model": given.model.name, "size": asdict(given.size)}
        content["figures"] = [one.as_json() for one in figures.values()]
        report.write_json(content, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
