"""Where the tokens of a prompt stand (pure).

The states of a prompt's beginning (its prefix) and of its notes can be kept, and joined for the next prompt, if each note is
worked out after the prefix alone, as if the others were not there (parallel context windows, arXiv 2212.10947). The positions
of a note's tokens are turned into its state (RoPE, arXiv 2104.09864). With all notes at the same positions, answers differ most
from those to a prompt evaluated as a whole, and with notes far apart nearly as much; so notes stand one after the other, each
at the start of a slot of fixed width. That way a note has only few states to be kept: for being the first note, the second, and
so on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SLOT: Final = 104
"""Positions of a slot. A note of up to 100 tokens takes one; a longer one takes several."""


@dataclass(frozen=True, slots=True)
class PlacedNote:
    """A note and where it stands.

    :ivar slot: its tokens stand from ``slot`` times :data:`SLOT` positions after the prefix.
    """

    id: str
    tokens: tuple[int, ...]
    slot: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A prompt's tokens in their places.

    :ivar prefix: at the positions from 0.
    :ivar notes: joined from states that are kept; in the order of their slots.
    :ivar tail: what comes after the notes.
    """

    prefix: tuple[int, ...]
    notes: tuple[PlacedNote, ...]
    tail: tuple[int, ...]

    @property
    def start(self) -> int:
        """Position of the tail's first token."""
        if not self.notes:
            return len(self.prefix)
        last = self.notes[-1]
        return len(self.prefix) + last.slot * SLOT + len(last.tokens)

    @property
    def tokens(self) -> int:
        """How many there are."""
        return len(self.prefix) + sum(len(note.tokens) for note in self.notes) + len(self.tail)

    @property
    def positions(self) -> int:
        """How many positions they span, gaps between notes included."""
        return self.start + len(self.tail)


def in_slots(notes: Sequence[tuple[str, Sequence[int]]]) -> tuple[PlacedNote, ...]:
    """Place notes (their ids and tokens) one after the other."""
    placed = []
    slot = 0
    for name, tokens in notes:
        placed.append(PlacedNote(name, tuple(tokens), slot))
        slot += slots(len(tokens))
    return tuple(placed)


def slots(tokens: int) -> int:
    """How many slots a note of so many tokens takes."""
    return -(-tokens // SLOT)
