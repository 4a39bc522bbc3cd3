"""Condensing: from several experiences that say the same to one (paper section 3).

As in distillation what the model says is checked against its sources; it gets one more try at less of the task, and else the
condensate is put together from the sources' own sentences. A question that found one of the sources should find the condensate:
so sentences of the sources are put behind what the model says until the check is content, and of two wordings the one that
keeps more terms is better, not the shorter one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from espeer.errors import ModelError
from espeer.lifecycle import prompts
from espeer.lifecycle.essence import Essence, cut, lacks, question_and_answer, sentences, stems, unmatched, without_note
from espeer.lifecycle.prompts import CONDENSE, Manner
from espeer.lifecycle.wording import instruction
from espeer.llm.engine import Engine, Priority
from espeer.llm.model import Sampling
from espeer.text import is_clean

MAX_CONDENSATE: Final = 600
"""The most characters of a condensed text, its note included. Several must fit a small context. In UTF-8 that is always less
than :data:`espeer.records.MAX_TEXT` bytes."""

MIN_AGREED: Final = 0.8
"""A condensate keeps at least this share of the terms that more than half of its sources hold."""

MIN_EACH: Final = 0.5
"""And at least this share of the terms of every source: a question worded like that source should still find it."""

_SHORT: Final = 80
"""A text of so many characters is never too long for its sources."""

_ECHO_TERMS: Final = 2
"""This many terms that stand in the prompt's own text and in no source are an echo of it."""

_MOSTLY_SAID: Final = 0.7
"""A sentence is not added where this share of its terms is there already."""

_T = TypeVar("_T")

_MERGING: Final = Sampling(max_tokens=128, stop=("\n",))
_INSTRUCTING: Final = Sampling(max_tokens=64, stop=("\n", ". "))


@dataclass(frozen=True, slots=True)
class Condensate:
    """What came of a group: the text, and "condensed" where the model worded it or "extractive" where not."""

    text: str
    method: str


async def condense(engine: Engine, texts: Sequence[str], *, note: str = "", manner: Manner = CONDENSE) -> Condensate:
    """Condense texts that say the same with the model, or by extraction when two tries fail the check.

    :param texts: at least one, the one that stands for them first. For one alone the model is not asked. Notes behind them are
        dropped: ``note`` takes their place.
    :param note: is put behind the condensate, which gives it the room; at most half of :data:`MAX_CONDENSATE` characters.
    :param manner: how the model is asked in the first try.
    :raises ModelError: the engine has stopped.
    """
    texts = [without_note(text) for text in texts]
    room = MAX_CONDENSATE - len(note)
    if len(texts) > 1:
        for attempt in (partial(_merged, manner=manner), _instructed):
            try:
                said = await attempt(engine, texts)
            except ModelError:  # long texts and a small context, or a model out of order: there is another way
                if engine.stopped:
                    raise
                continue
            text = complete(said, texts, room=room, manner=manner)
            if not problems(text, texts, room=room, manner=manner):
                return Condensate(text + note, "condensed")
    return Condensate(extract(texts, room=room) + note, "extractive")


async def _merged(engine: Engine, texts: Sequence[str], *, manner: Manner) -> str:
    """Ask for one text in place of all."""
    sampling = replace(_MERGING, grammar=instruction(" ".join(texts))) if manner.held else _MERGING
    return (await engine.complete(prompts.condense(texts, manner), sampling, priority=Priority.REFINE)).strip("- ")


async def _instructed(engine: Engine, texts: Sequence[str]) -> str:
    """The easier half of the task: the first text's question stays as it is, only its answer is put in other words."""
    question, answer = question_and_answer(texts[0])
    said = (await engine.complete(prompts.instruct(answer), _INSTRUCTING, priority=Priority.REFINE)).strip()
    return f"{question.rstrip('.:? ')}: {said}" if question else said


def problems(text: str, sources: Sequence[str], *, room: int = MAX_CONDENSATE, manner: Manner = CONDENSE) -> list[str]:
    """Return what is wrong with a condensate, one line each; nothing if it can be kept.

    It must keep the codes, numbers with their units, names and negations that more than half of its sources hold,
    :data:`MIN_AGREED` of the terms that more than half hold, and :data:`MIN_EACH` of the terms of each. It must not bring
    codes, numbers, names or negations that no source has, echo the prompt, or be longer than its sources together or ``room``
    characters. What it cannot see: two numbers of one unit that changed places, and names at the beginning of a sentence.
    """
    each, everything = [Essence(source) for source in sources], Essence("\n".join(sources))
    return _problems(text, each, everything, _limit(sources, room), manner)


def complete(lead: str, sources: Sequence[str], *, room: int = MAX_CONDENSATE, manner: Manner = CONDENSE) -> str:
    """Put sentences of the sources behind a text until it lacks nothing any more.

    Where that cannot be, because the text makes something up or there is no room, it comes back as it was.
    """
    each, everything = [Essence(source) for source in sources], Essence("\n".join(sources))
    limit, pieces = _limit(sources, room), _pieces(sources)
    text = " ".join(sentences(lead))
    while found := _problems(text, each, everything, limit, manner):
        if not all(problem.startswith(_MENDABLE) for problem in found):
            return lead
        more = _most_bringing(pieces, Essence(text), each, room=limit - len(text) - 1)
        if more is None:
            return lead
        text = f"{text} {more}"
    return text


def extract(sources: Sequence[str], *, room: int = MAX_CONDENSATE) -> str:
    """Put a condensate together from the sources' own sentences, in their order.

    The sentences that bring most of what the sources agree on are taken first; those that bring little are left out. It is
    never empty, nor longer than ``room`` characters or the sources' sentences together.
    """
    if len(sources) == 1 and len(sources[0]) <= room:
        return sources[0]
    each, pieces = [Essence(source) for source in sources], _pieces(sources)
    picked: dict[str, int] = {}
    places = {piece: place for place, piece in enumerate(pieces)}
    text = ""
    while (more := _most_bringing(pieces, Essence(text), each, room=room - len(text) - 1)) is not None:
        picked[more] = places[more]
        text = " ".join(sorted(picked, key=places.__getitem__))
    return text or _shortened(next(iter(pieces)), room)


_MENDABLE: Final = ("lost", "forgot")
"""How problems begin that go away when sentences of the sources are added."""


def _problems(text: str, each: Sequence[Essence], everything: Essence, limit: int, manner: Manner) -> list[str]:
    if not is_clean(text):
        return ["empty or with control characters"]
    essence = Essence(text)
    found = []
    if len(text) > limit:
        found.append("too long")
    if lost := {fact for fact in _agreed_facts(each) if not _holds(essence, fact)}:
        found.append(f"lost {', '.join(sorted(lost))}")
    if unclear := {quantity.value for quantity in _shared(source.quantities for source in each) - essence.quantities}:
        found.append(f"lost the unit of {', '.join(sorted(unclear))}")
    if invented := lacks(everything, essence) or {quantity.value for quantity in unmatched(essence, everything)}:
        found.append(f"made up {', '.join(sorted(invented))}")
    if _mostly_negate(each) and not essence.negates:
        found.append("lost a negation")
    if essence.negates and not everything.negates:
        found.append("made up a negation")
    agreed = _shared(source.stems for source in each)
    if len(agreed & essence.stems) < MIN_AGREED * len(agreed):
        found.append("lost what the sources agree on")
    if any(len(source.stems & essence.stems) < MIN_EACH * len(source.stems) for source in each):
        found.append("forgot a source")
    if len((stems(manner.words) & essence.stems) - everything.stems) >= _ECHO_TERMS:
        found.append("echoes the prompt")
    return found


def _most_bringing(pieces: Mapping[str, Essence], held: Essence, each: Sequence[Essence], *, room: int) -> str | None:
    """Return the sentence that adds most to what is held: of the agreed facts, then of terms, each by how many sources have it.

    None where no sentence of at most ``room`` characters adds much.
    """
    agreed = {fact for fact in _agreed_facts(each) if not _holds(held, fact)}
    support = Counter(term for source in each for term in source.stems)
    negation_wanted = _mostly_negate(each) and not held.negates

    def gain(piece: str) -> tuple[int, int]:
        essence = pieces[piece]
        facts = sum(_holds(essence, fact) for fact in agreed) + (negation_wanted and essence.negates)
        return facts, sum(support[term] for term in essence.stems - held.stems)

    bringing = (piece for piece, essence in pieces.items() if len(piece) <= room and _brings(essence, held))
    return max(bringing, key=gain, default=None)


def _brings(essence: Essence, held: Essence) -> bool:
    new = len(essence.stems - held.stems) > (1 - _MOSTLY_SAID) * len(essence.stems)
    return new or bool(lacks(held, essence)) or (essence.negates and not held.negates)


def _agreed_facts(each: Sequence[Essence]) -> set[str]:
    """Return the codes, numbers and names that more than half of the sources hold."""
    facts = {fact for source in each for fact in source.codes | source.numbers | source.names}
    return {fact for fact in facts if 2 * sum(_holds(source, fact) for source in each) > len(each)}


def _holds(essence: Essence, fact: str) -> bool:
    return fact in essence.codes or fact in essence.numbers or fact in essence.words


def _mostly_negate(each: Sequence[Essence]) -> bool:
    return 2 * sum(source.negates for source in each) > len(each)


def _shared(sets: Iterable[frozenset[_T]]) -> set[_T]:
    """Return what more than half of the sets hold."""
    listed = list(sets)
    held = Counter(item for one in listed for item in one)
    return {item for item, times in held.items() if 2 * times > len(listed)}


def _pieces(sources: Sequence[str]) -> dict[str, Essence]:
    """Return the sources' sentences in their order, none twice."""
    return {sentence: Essence(sentence) for source in sources for sentence in sentences(source)}


def _limit(sources: Sequence[str], room: int) -> int:
    together = sum(len(sentence) + 1 for source in sources for sentence in sentences(source)) - 1
    return min(room, max(together, _SHORT))


def _shortened(sentence: str, room: int) -> str:
    """Cut a sentence at a word's end: a log line, more likely."""
    if len(sentence) <= room:
        return sentence
    return sentence[:room].rpartition(" ")[0].strip() or cut(sentence, room)
