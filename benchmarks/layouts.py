"""Where the notes of a prompt should stand, so that answers from joined states are those from a prompt evaluated as a whole.

    python -m benchmarks.layouts [--data DIR] [--model FILE] [--questions 300] [--json [FILE]]

Multiple choice by text with four recalled notes, each evaluated after the prompt's beginning alone and then joined: all at the
same positions (parallel context windows, arXiv 2212.10947); moved to stand one after the other; moved to the starts of slots of
some width; and moved, with the first tokens of all but the first note evaluated again among the others (LegoLink, EPIC,
arXiv 2410.15332). espeer.llm.layout has what came of it.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np

from benchmarks import data, questions, report, significance
from benchmarks.questions import Question
from benchmarks.serving import noted
from espeer.lifecycle import prompts
from espeer.lifecycle.choice import pick
from espeer.llm.context import Cell, Context
from espeer.llm.layout import Layout
from espeer.llm.llama import LlamaModel
from espeer.llm.model import Score
from espeer.llm.weights import optimised, resolve
from espeer.sim.experiments import estimates

_NOTES = 4
_HEAD = 4
"""Tokens of a note that are evaluated again."""

Starts = Callable[[Sequence[int]], list[int]]
"""From the lengths of notes to where they start, after the prefix."""


def overlapping(lengths: Sequence[int]) -> list[int]:
    """Start all at the same position."""
    return [0] * len(lengths)


def one_after_the_other(lengths: Sequence[int]) -> list[int]:
    """Leave no gaps."""
    return slots(1)(lengths)


def slots(width: int) -> Starts:
    """Start each at the next multiple of a width."""

    def starts(lengths: Sequence[int]) -> list[int]:
        ends = np.cumsum([-(-length // width) * width for length in lengths])
        return [0, *map(int, ends[:-1])]

    return starts


LAYOUTS: dict[str, tuple[Starts, int]] = {
    "all at the same positions": (overlapping, 0),
    "one after the other": (one_after_the_other, 0),
    "in slots of 64": (slots(64), 0),
    "in slots of 104": (slots(104), 0),
    "in slots of 256": (slots(256), 0),
    f"one after the other, {_HEAD} tokens of each again": (one_after_the_other, _HEAD),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one question came to.

    :ivar first: log-probabilities of the first token after the prompt.
    :ivar seconds: from states to these.
    """

    right: bool
    taken: int
    first: np.ndarray
    seconds: float


class Bench:
    """Evaluates one prompt in several ways."""

    def __init__(self, model: LlamaModel) -> None:
        self._model = model
        self._context: Context = model._context  # noqa: SLF001 - below what a model offers

    def ask(self, question: Question, texts: Sequence[str]) -> dict[str, Outcome]:
        """Answer a question in each way."""
        prompt, continuations = prompts.choose(question.text, question.choices, noted(texts), "text")
        layout = self._model._lay_out(prompt)  # noqa: SLF001 - as above
        endings = [self._model._vocabulary.tokens(text, special=False, first=False) for text in continuations]  # noqa: SLF001
        notes = [list(note.tokens) for note in layout.notes]
        prefix = self._evaluated(layout.prefix, 0)
        outcomes = {"whole": self._whole(prefix, layout, endings, question.answer)}
        states = [self._note(prefix, len(layout.prefix), note) for note in notes]
        for name, (starts, head) in LAYOUTS.items():
            places = [len(layout.prefix) + start for start in starts([len(note) for note in notes])]
            moved = [
                self._moved(prefix, layout.prefix, state, place - len(layout.prefix))
                for state, place in zip(states, places, strict=True)
            ]
            began = time.perf_counter()
            sequence = self._context.open()
            self._context.copy(prefix, sequence)
            for index, (state, place) in enumerate(zip(moved, places, strict=True)):
                again = head if index else 0
                self._go_on(sequence, notes[index][:again], place)
                own = self._context.open()
                self._context.restore(own, state)
                self._context.cut(own, 0, place + again)
                self._context.copy(own, sequence)
                self._context.drop(own)
            start = max(place + len(note) for place, note in zip(places, notes, strict=True))
            outcomes[name] = self._chosen(sequence, start, layout.tail, endings, question.answer, began)
        self._context.drop(prefix)
        return outcomes

    def _whole(self, prefix: int, layout: Layout, endings: Sequence[Sequence[int]], right: int) -> Outcome:
        began = time.perf_counter()
        sequence = self._context.open()
        self._context.copy(prefix, sequence)
        text = [token for note in layout.notes for token in note.tokens]
        self._go_on(sequence, text, len(layout.prefix))
        return self._chosen(sequence, len(layout.prefix) + len(text), layout.tail, endings, right, began)

    def _chosen(  # noqa: PLR0917 - one call, twice
        self, sequence: int, start: int, tail: Sequence[int], endings: Sequence[Sequence[int]], right: int, began: float
    ) -> Outcome:
        first = self._go_on(sequence, tail, start)[-1]
        seconds = time.perf_counter() - began
        scores = []
        for ending in endings:
            own = self._context.open()
            self._context.copy(sequence, own)
            rows = [first, *self._go_on(own, ending[:-1], start + len(tail), every=True)]
            scores.append(Score(sum(float(row[token]) for row, token in zip(rows, ending, strict=True)), len(ending)))
            self._context.drop(own)
        self._context.drop(sequence)
        taken = pick(scores, "text")[0]
        return Outcome(taken == right, taken, first, seconds)

    def _note(self, prefix: int, start: int, tokens: Sequence[int]) -> bytes:
        """The state of a note evaluated after the prefix alone."""
        own = self._context.open()
        self._context.copy(prefix, own)
        self._go_on(own, tokens, start)
        return self._taken_out(own, start)

    def _moved(self, prefix: int, tokens: Sequence[int], state: bytes, by: int) -> bytes:
        if not by:
            return state
        own = self._context.open()
        self._context.restore(own, state)
        self._context.shift(own, by)
        self._context.cut(prefix, len(tokens) - 1)
        self._go_on(prefix, tokens[-1:], len(tokens) - 1)  # llama.cpp moves with the next evaluation
        return self._taken_out(own, 0)

    def _taken_out(self, sequence: int, start: int) -> bytes:
        self._context.cut(sequence, 0, start)
        state = self._context.state(sequence)
        self._context.drop(sequence)
        return state

    def _evaluated(self, tokens: Sequence[int], start: int) -> int:
        sequence = self._context.open()
        self._go_on(sequence, tokens, start)
        return sequence

    def _go_on(self, sequence: int, tokens: Sequence[int], start: int, *, every: bool = False) -> list[np.ndarray]:
        """Evaluate tokens; return the log-probabilities after the last, or after every one."""
        rows = []
        last = len(tokens) - 1
        cells = [Cell(token, start + index, sequence, every or index == last) for index, token in enumerate(tokens)]
        for first in range(0, len(cells), self._context.step):
            part = cells[first : first + self._context.step]
            self._context.evaluate(part, interruptible=False)
            for row, cell in enumerate(part):
                if not cell.wanted:
                    continue
                logits = self._context.logits(row).astype(np.float64)
                rows.append(logits - np.logaddexp.reduce(logits))
        return rows


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    data.add_option(parser)
    parser.add_argument("--model", metavar="FILE", help="GGUF; by default espeer's default model")
    parser.add_argument("--questions", type=int, default=300, metavar="N")
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="write the figures here; by default as the last line"
    )
    options = parser.parse_args()
    print(report.described(report.machine()))
    model = LlamaModel.load(optimised(resolve(options.model)), keep=1)
    material = questions.load(options.data)
    index = questions.indexed(material.short_passages())
    bench = Bench(model)
    asked = material.questions[: options.questions]
    print(f"{len(asked)} questions: {material.source}; {model.name}", flush=True)
    outcomes = [bench.ask(question, [key for key, _ in index.top_k(question.text, _NOTES)]) for question in asked]
    content = {}
    for name in outcomes[0]:
        whole, ways = [one["whole"] for one in outcomes], [one[name] for one in outcomes]
        pairs = estimates.discordant([one.right for one in ways], [one.right for one in whole])
        content[name] = figures = {
            "accuracy": fmean(one.right for one in ways),
            "only_so": pairs.only_one,
            "only_whole": pairs.only_other,
            "same_choice": fmean(one.taken == other.taken for one, other in zip(ways, whole, strict=True)),
            "divergence": fmean(
                significance.divergence(np.exp(one.first), np.exp(other.first)) for one, other in zip(ways, whole, strict=True)
            ),
            "ms": 1000 * median(one.seconds for one in ways),
        }
        print(name.ljust(45), "  ".join(f"{key} {value:.3g}" for key, value in figures.items()), flush=True)
    if options.json:
        report.write_json(content, options.json)
    model.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
