"""Which of the recalled experiences go into a prompt, and how much of each (pure)."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from espeer.lifecycle.essence import sentences
from espeer.lifecycle.prompts import note
from espeer.llm.model import Note


@dataclass(frozen=True, slots=True)
class Text:
    """An experience's text, and the id that stands for it."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Packed:
    """An experience that goes into the prompt.

    :ivar index: its place among those that were recalled.
    :ivar note: the whole of it, or its first sentences. These have an id of their own.
    """

    index: int
    note: Note


def pack(texts: Sequence[Text], size: Callable[[Sequence[Note]], int], room: int) -> list[Packed]:
    """Take in as many experiences as there is room for.

    Each is taken whole if it fits beside those before it; else its first sentences are, as many as fit; else it is left out.
    What comes after it can still fit. Nothing ends in the middle of a sentence.

    :param texts: the best first.
    :param size: of the prompt with these notes. It grows with them, and is the slow part: mostly it is called once.
    :param room: the most that the prompt may have, in the unit of ``size``.
    """
    whole = [Packed(index, note(text.id, text.text)) for index, text in enumerate(texts)]
    if not whole or size([packed.note for packed in whole]) <= room:
        return whole
    taken: list[Packed] = []
    for packed in whole:
        before = [earlier.note for earlier in taken]
        if size([*before, packed.note]) <= room:
            taken.append(packed)
            continue
        shorter = _shorter(texts[packed.index])
        fitting = bisect_right(shorter, room, key=lambda note, before=before: size([*before, note]))  # type: ignore[misc]
        if fitting:
            taken.append(Packed(packed.index, shorter[fitting - 1]))
    return taken


def beginnings(text: str) -> list[str]:
    """The beginnings of a text that end where a sentence does, the shortest first; the whole text is not among them."""
    ends, at = [], 0
    for sentence in sentences(text):
        while text[at].isspace():
            at += 1
        at += len(sentence) if text.startswith(sentence, at) else len(sentence) - 1  # a full stop may have been added
        ends.append(at)
    return [text[:end] for end in ends[:-1]]


def _shorter(text: Text) -> list[Note]:
    return [note(f"{text.id}:{len(beginning)}", beginning) for beginning in beginnings(text.text)]
