"""What a llama.cpp model does with a prompt: generate, score, warm. Each is a generator of what it wants evaluated."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from espeer.llm import native
from espeer.llm.context import Cell, Context
from espeer.llm.layout import Layout, PlacedNote
from espeer.llm.loops import is_looping
from espeer.llm.model import Finish, Sampling, Score
from espeer.llm.placing import TOGETHER, Ask, Asking, Lease, Placer
from espeer.llm.sampler import Sampler
from espeer.llm.stream import TextStream


class LlamaRun(ABC):
    """What all runs have in common: see :class:`espeer.llm.model.Run`.

    :ivar need: the most cells that it takes.
    """

    def __init__(self, context: Context, *, need: int, ended: Callable[["LlamaRun"], None]) -> None:
        self.need: Final = need
        self.done = False
        self.error: Exception | None = None
        self.finish: Finish | None = None
        self.scores: list[Score] = []
        self._context = context
        self._lease = Lease(context)
        self._asking: Asking | None = None
        self._ask: Ask | None = None
        self._ended = ended

    def take(self) -> str:
        """The text that came since the last call."""
        return ""

    def ask(self) -> Ask | None:
        """What it wants evaluated; None when it is done."""
        if self._asking is None and not self.done:
            self._asking = self._steps()
            self._go_on()
        return self._ask

    def hear(self, first: int, count: int, row: int) -> None:
        """Take note that ``count`` cells of the ask, from ``first``, were evaluated, as the rows from ``row``."""
        ask = self._ask
        if ask is None:
            raise RuntimeError("nothing was asked for")
        try:
            if ask.hear is not None:
                for index in range(first, first + count):
                    if ask.cells[index].wanted:
                        ask.hear(index, row + index - first)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this run's alone
            self.fail(error)
            return
        ask.taken += count
        if ask.taken == len(ask.cells):
            self._go_on()

    def fail(self, error: Exception) -> None:
        """End it."""
        self.error = error
        self.close()

    def pause(self) -> None:
        """Give back the room it takes. It begins anew when it is asked again, without saying anything twice."""
        if self._asking is not None:
            self._asking.close()
        self._asking = self._ask = None
        self._lease.close()

    def close(self) -> None:
        """Give back the room it takes; it is done."""
        self.done = True
        self.pause()
        self._ended(self)

    def _go_on(self) -> None:
        if self._asking is None:
            raise RuntimeError("the run was not asked")
        try:
            self._ask = next(self._asking, None)
        except Exception as error:  # noqa: BLE001 - as above
            self.fail(error)
        else:
            if self._ask is None:
                self.close()

    @abstractmethod
    def _steps(self) -> Asking:
        """Ask for one evaluation after the other, from the beginning or from where it was when it was paused."""


class Generation(LlamaRun):
    """An answer."""

    def __init__(
        self,
        context: Context,
        placer: Placer,
        vocabulary: native.Vocabulary,
        layout: Layout,
        sampling: Sampling,
        *,
        stop: tuple[str, ...],
        ended: Callable[[LlamaRun], None],
    ) -> None:
        super().__init__(context, need=layout.tokens + sampling.max_tokens, ended=ended)
        self._placer = placer
        self._vocabulary = vocabulary
        self._layout = layout
        self._max_tokens = sampling.max_tokens
        self._may_loop = sampling.grammar is not None  # of an answer under a grammar a part is worth nothing
        self._text = TextStream((*sampling.stop, *stop))
        self._said = ""
        self._tokens: list[int] = []
        self.finish = "length" if sampling.max_tokens < 1 else None
        self._sampler = Sampler(vocabulary, sampling)

    def take(self) -> str:
        """The text that came since the last call."""
        said, self._said = self._said, ""
        return said

    def close(self) -> None:
        """Give back the room and the sampler."""
        super().close()
        self._sampler.close()

    def _steps(self) -> Asking:
        tail = [*self._layout.tail, *self._tokens]
        place = yield from self._placer.place(self._lease, self._layout, tail)
        evaluated = place.common
        while self.finish is None:
            cells = _going_on(tail[evaluated:], self._layout.start + evaluated, place.sequence)
            yield Ask(cells, lambda _, row: self._pick(row))
            evaluated = len(tail)
            tail = [*self._layout.tail, *self._tokens]
        self._said += self._text.finish()
        self._placer.leave(self._lease, place.sequence, self._layout, tail[:evaluated])

    def _pick(self, row: int) -> None:
        token = self._sampler.choose(self._context.handle, row)
        if self._vocabulary.ends(token):
            self.finish = "stop"
            return
        self._tokens.append(token)
        if not self._may_loop and is_looping(self._tokens):
            self.finish = "loop"
            return
        self._said += self._text.feed(self._vocabulary.piece(token))
        if self._text.stopped:
            self.finish = "stop"
        elif len(self._tokens) >= self._max_tokens:
            self.finish = "length"


class Scoring(LlamaRun):
    """How likely continuations are.

    :param room: cells for the continuations, at least as many as the longest has tokens.
    """

    def __init__(
        self,
        context: Context,
        placer: Placer,
        layout: Layout,
        endings: Sequence[Sequence[int]],
        *,
        room: int,
        ended: Callable[[LlamaRun], None],
    ) -> None:
        room = min(room, sum(map(len, endings)))
        super().__init__(context, need=layout.tokens + room, ended=ended)
        self._placer = placer
        self._layout = layout
        self._endings = endings
        self._room = room

    def _steps(self) -> Asking:
        layout = self._layout
        place = yield from self._placer.place(self._lease, layout, layout.tail)
        sums = [0.0] * len(self._endings)
        cells = _going_on(layout.tail[place.common :], layout.start + place.common, place.sequence)

        def hear_first(_: int, row: int) -> None:
            logits = self._context.logits(row)
            total = _log_total(logits)
            for index, ending in enumerate(self._endings):
                if ending:
                    sums[index] = float(logits[ending[0]]) - total

        yield Ask(cells, hear_first)
        for wave in _waves(self._endings, room=self._room):
            yield from self._score_wave(wave, place.sequence, sums)
        self.scores = [Score(total, len(ending)) for total, ending in zip(sums, self._endings, strict=True)]
        self._placer.leave(self._lease, place.sequence, layout, layout.tail)

    def _score_wave(self, wave: Sequence[int], sequence: int, sums: list[float]) -> Asking:
        """Add the log-probabilities of the tokens after the first of each ending in ``wave``."""
        cells: list[Cell] = []
        meant: list[tuple[int, int]] = []  # which ending, and which token comes after the cell
        copies = {index: self._lease.open() for index in wave}
        for index, copy in copies.items():
            self._context.copy(sequence, copy)
            ending = self._endings[index]
            for offset, token in enumerate(ending[:-1]):  # what would come after the last token is not asked for
                cells.append(Cell(token, self._layout.positions + offset, copy, wanted=True))
                meant.append((index, ending[offset + 1]))

        def hear(cell: int, row: int) -> None:
            index, token = meant[cell]
            logits = self._context.logits(row)
            sums[index] += float(logits[token]) - _log_total(logits)

        yield Ask(cells, hear)
        for copy in copies.values():
            self._lease.drop(copy)


class Warming(LlamaRun):
    """Have the states of a prefix and of notes kept."""

    def __init__(
        self,
        context: Context,
        placer: Placer,
        prefix: Sequence[int],
        notes: Sequence[PlacedNote],
        *,
        ended: Callable[[LlamaRun], None],
    ) -> None:
        largest = sum(sorted(len(note.tokens) for note in notes)[-TOGETHER:])  # so many are worked out at once
        super().__init__(context, need=len(prefix) + largest, ended=ended)
        self._placer = placer
        self._prefix = prefix
        self._notes = notes

    def _steps(self) -> Asking:
        yield from self._placer.warm(self._lease, self._prefix, self._notes)


def _going_on(tokens: Sequence[int], start: int, sequence: int) -> list[Cell]:
    """Cells for tokens from a position on; what comes after the last is wanted."""
    last = len(tokens) - 1
    return [Cell(token, start + index, sequence, index == last) for index, token in enumerate(tokens)]


def _waves(endings: Sequence[Sequence[int]], *, room: int) -> Iterator[list[int]]:
    """Group the endings of more than one token, by index, so that a group fits the sequences and ``room`` cells."""
    wave: list[int] = []
    used = 0
    for index, ending in enumerate(endings):
        size = len(ending) - 1
        if size < 1:
            continue
        if wave and (used + size > room or len(wave) == TOGETHER):
            yield wave
            wave, used = [], 0
        wave.append(index)
        used += size
    if wave:
        yield wave


def _log_total(logits: NDArray[np.float32]) -> float:
    """What to take from a logit to have a log-probability."""
    highest = float(logits.max())
    return highest + float(np.log(np.exp(logits - np.float32(highest)).sum(dtype=np.float64)))
