"""Bring a prompt's prefix and notes into a sequence: from states that are kept, from one that was left, or by evaluation.

What has to be evaluated is asked for by yielding it: :class:`espeer.llm.llama.LlamaModel` puts the asks of several runs into
one evaluation.
"""

import hashlib
from array import array
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from espeer.llm.context import Cell, Context
from espeer.llm.layout import SLOT, Layout, PlacedNote
from espeer.llm.states import StateKey, States

TOGETHER: Final = 6
"""So many sequences a run may have besides its main one."""

LEFT: Final = 2
"""So many finished sequences are left in the context, for a prompt that goes on from them, as the question for the confidence
does."""


@dataclass(eq=False, slots=True)
class Ask:
    """What a run wants evaluated before it goes on.

    :ivar hear: is called for each wanted cell, with its index and its row in the evaluation, before the next evaluation.
    :ivar alone: in an evaluation of its own that cannot be interrupted.
    :ivar taken: so many cells were evaluated.
    """

    cells: Sequence[Cell]
    hear: Callable[[int, int], None] | None = None
    alone: bool = False
    taken: int = 0


_WRITTEN: Final = 4
"""So many states are written to disk in idle time after each warming: about as many as it makes."""

Asking = Generator[Ask, None, None]


class Lease:
    """The sequences that one run has opened."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._sequences: set[int] = set()

    def open(self) -> int:
        """A new, empty sequence."""
        sequence = self._context.open()
        self._sequences.add(sequence)
        return sequence

    def adopt(self, sequence: int) -> None:
        """Take over a sequence that is open."""
        self._sequences.add(sequence)

    def release(self, sequence: int) -> int:
        """Leave a sequence to somebody else."""
        self._sequences.remove(sequence)
        return sequence

    def drop(self, sequence: int) -> None:
        """Forget a sequence."""
        self._context.drop(self.release(sequence))

    def close(self) -> None:
        """Forget all of them."""
        for sequence in tuple(self._sequences):
            self.drop(sequence)


class Place(NamedTuple):
    """Where a run goes on.

    :ivar common: so many of the tail's first tokens are in the sequence already.
    """

    sequence: int
    common: int


class _Left(NamedTuple):
    """A sequence that a run has left."""

    sequence: int
    layout: Layout
    tail: Sequence[int]

    @property
    def cells(self) -> int:
        return self.layout.tokens - len(self.layout.tail) + len(self.tail)


class Placer:
    """Places prompts in a context.

    :param model: stands for everything that shapes a state: the weights, and how they are run.
    """

    def __init__(self, context: Context, states: States, *, model: str) -> None:
        self._context = context
        self._states = states
        self._model = f"{model}, slots of {SLOT}"
        self._left: list[_Left] = []

    def place(self, lease: Lease, layout: Layout, tail: Sequence[int]) -> Generator[Ask, None, Place]:
        """Bring the prefix and the notes into a sequence of the lease's.

        :param tail: the layout's, and what was generated since.
        """
        left = self._take(layout, tail)
        if left is not None:
            lease.adopt(left.sequence)
            common = min(_common(left.tail, tail), len(tail) - 1)  # the last is evaluated again, for its logits
            if self._context.cut(left.sequence, layout.start + common):
                return Place(left.sequence, common)
            lease.drop(left.sequence)
        while self.forget_oldest():  # nobody goes on from those at once, and attention runs over their cells, too
            pass
        sequence = yield from self._prefix(lease, layout.prefix)
        states = yield from self._note_states(lease, sequence, layout.prefix, layout.notes)
        for state in states:
            joining = lease.open()
            self._context.restore(joining, state)
            self._context.copy(joining, sequence)
            lease.drop(joining)
        return Place(sequence, 0)

    def warm(self, lease: Lease, prefix: Sequence[int], notes: Sequence[PlacedNote]) -> Asking:
        """Have the states of a prefix and of notes kept."""
        sequence = yield from self._prefix(lease, prefix)
        yield from self._note_states(lease, sequence, prefix, notes)
        self._states.flush(_WRITTEN)

    def is_warm(self, prefix: Sequence[int], notes: Iterable[PlacedNote]) -> bool:
        """Whether :meth:`warm` has nothing to do; what there is counts as used."""
        digest = _digest(prefix)
        keys = [StateKey(self._model, digest, note.id, note.slot) for note in notes]
        return all([self._states.touch(key) for key in (*keys, StateKey(self._model, digest, "", 0))])  # noqa: C419 - each is used

    def leave(self, lease: Lease, sequence: int, layout: Layout, tail: Sequence[int]) -> None:
        """Leave a sequence, whose prefix and notes are the layout's, to a prompt that goes on from it."""
        self._left.append(_Left(lease.release(sequence), layout, tuple(tail)))
        while len(self._left) > LEFT:
            self.forget_oldest()

    @property
    def cells(self) -> int:
        """How many cells the sequences take that were left."""
        return sum(left.cells for left in self._left)

    def forget_oldest(self) -> bool:
        """Forget the sequence that was left first; return whether there was one."""
        if not self._left:
            return False
        self._context.drop(self._left.pop(0).sequence)
        return True

    def _take(self, layout: Layout, tail: Sequence[int]) -> _Left | None:
        """The sequence with this prefix and these notes that has most of the tail."""
        fitting = [left for left in self._left if left.layout.prefix == layout.prefix and left.layout.notes == layout.notes]
        best = max(fitting, key=lambda left: _common(left.tail, tail), default=None)
        if best is not None:
            self._left.remove(best)
        return best

    def _prefix(self, lease: Lease, prefix: Sequence[int]) -> Generator[Ask, None, int]:
        """A sequence that holds the prefix."""
        sequence = lease.open()
        if not prefix:
            return sequence
        key = StateKey(self._model, _digest(prefix), "", 0)
        state = self._states.get(key)
        if state is not None:
            self._context.restore(sequence, state)
        else:
            yield Ask([Cell(token, position, sequence) for position, token in enumerate(prefix)])
            self._states.put(key, self._context.state(sequence))
        return sequence

    def _note_states(
        self, lease: Lease, sequence: int, prefix: Sequence[int], notes: Sequence[PlacedNote]
    ) -> Generator[Ask, None, list[bytes]]:
        """The notes' states in their places.

        :param sequence: holds the prefix.
        """
        digest = _digest(prefix)
        found = {note: self._states.get(StateKey(self._model, digest, note.id, note.slot)) for note in notes}
        missing = [note for note, state in found.items() if state is None]
        if missing:
            made = yield from self._made(lease, sequence, prefix, missing)
            for note, made_state in made.items():
                self._states.put(StateKey(self._model, digest, note.id, note.slot), made_state)
            found |= made  # with states at the first slot that are not asked for here
        return [state for note in notes if (state := found[note]) is not None]

    def _made(
        self, lease: Lease, sequence: int, prefix: Sequence[int], notes: Sequence[PlacedNote]
    ) -> Generator[Ask, None, dict[PlacedNote, bytes]]:
        """Work out the states of notes, each after the prefix alone, and move them to their slots."""
        digest = _digest(prefix)
        bases = {note.id: PlacedNote(note.id, note.tokens, 0) for note in notes}
        made: dict[PlacedNote, bytes] = {}
        for name, base in bases.items():
            kept = self._states.get(StateKey(self._model, digest, name, 0))
            if kept is not None:
                made[base] = kept
        for group in _groups([base for base in bases.values() if base not in made]):
            made |= yield from self._evaluated(lease, sequence, len(prefix), group)
        for group in _groups([note for note in notes if note.slot]):
            made |= yield from self._moved(lease, sequence, prefix, {note: made[bases[note.id]] for note in group})
        return made

    def _moved(
        self, lease: Lease, sequence: int, prefix: Sequence[int], bases: Mapping[PlacedNote, bytes]
    ) -> Generator[Ask, None, dict[PlacedNote, bytes]]:
        """The states of notes in their slots, from those at the first slot."""
        sequences = {note: lease.open() for note in bases}
        for note, own in sequences.items():
            self._context.restore(own, bases[note])
            self._context.shift(own, note.slot * SLOT)
        # llama.cpp moves them with the next evaluation; one there must be: the prefix's last token, again.
        last = len(prefix) - 1
        self._context.cut(sequence, last)
        yield Ask([Cell(prefix[last], last, sequence)], alone=True)
        states = {note: self._context.state(own) for note, own in sequences.items()}
        for own in sequences.values():
            lease.drop(own)
        return states

    def _evaluated(
        self, lease: Lease, sequence: int, start: int, notes: Sequence[PlacedNote]
    ) -> Generator[Ask, None, dict[PlacedNote, bytes]]:
        """The states of notes at the first slot, by evaluation."""
        sequences = {note: lease.open() for note in notes}
        cells: list[Cell] = []
        for note, own in sequences.items():
            self._context.copy(sequence, own)
            cells += (Cell(token, start + index, own) for index, token in enumerate(note.tokens))
        yield Ask(cells)
        states = {}
        for note, own in sequences.items():
            self._context.cut(own, 0, start)
            states[note] = self._context.state(own)
            lease.drop(own)
        return states


def _groups(notes: Sequence[PlacedNote]) -> Iterator[Sequence[PlacedNote]]:
    return (notes[start : start + TOGETHER] for start in range(0, len(notes), TOGETHER))


def _digest(tokens: Sequence[int]) -> bytes:
    return hashlib.sha256(array("i", tokens)).digest()


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning."""
    return next((index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
