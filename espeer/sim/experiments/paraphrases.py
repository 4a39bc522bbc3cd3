"""The same experience in other words: by rule, and what a model's wording has to keep (pure).

The rules are four: the parts of the text change places, phrases are exchanged for others of the same meaning, something is said
before it, and something behind it. Codes, numbers, names, negations and the right answer's words stay as they are.
"""

import random
import re
from typing import Final

from espeer.lifecycle.essence import codes, names, negates, numbers, question_and_answer, stems, words
from espeer.llm.model import Message, Prompt, Sampling
from espeer.records import MAX_TEXT
from espeer.text import is_clean

MIN_KEPT: Final = 0.3
"""A wording keeps at least this share of the terms of what it is a wording of: else it says something else."""

_LEADS: Final = (
    *("", "Note: ", "Remember: ", "As seen before: ", "From experience: ", "Learnt: "),
    *("To keep in mind: ", "Once more: ", "Lesson: ", "In short: "),
)
_TAILS: Final = (
    *("", " This was confirmed.", " Keep that in mind.", " So it was told.", " It came up again."),
    *(" That was right.", " Others found the same.", " Seen several times."),
)
_SPLIT: Final = ("{question}: {answer}", "{Answer} ({question})", "{Answer}, for this: {question}", "{question}; {answer}")
_SYNONYMS: Final = (
    ("which of the following", "which one of these", "which of these"),
    ("all of the following", "all of these"),
    ("associated with", "linked to", "connected with"),
    ("best describes", "describes best"),
    ("results in", "leads to"),
    ("most likely", "most probably"),
    ("because", "since"),
    ("however", "yet"),
    ("occurs", "happens", "takes place"),
    ("called", "named"),
    ("large", "big"),
    ("increase", "rise"),
    ("decrease", "fall"),
    ("shows", "displays"),
    ("stops", "halts"),
    ("replace", "swap"),
    ("replacing", "swapping"),
    ("set", "put"),
    ("setting", "putting"),
    ("cured", "fixed", "solved"),
    ("cleaning", "wiping"),
    ("usually", "mostly"),
    ("primary", "main", "chief"),
    ("example", "instance"),
    ("begins", "starts"),
    ("area", "region"),
    ("produced", "made"),
    ("located", "found"),
    ("people", "persons"),
    ("important", "significant"),
    ("when", "whenever"),
    ("every time", "each time"),
    ("the machine", "the unit"),
    ("changed nothing", "did nothing"),
)
_OTHERS: Final = {phrase: tuple(other for other in row if other != phrase) for row in _SYNONYMS for phrase in row}
_PHRASE: Final = re.compile(rf"\b(?:{'|'.join(sorted(map(re.escape, _OTHERS), key=len, reverse=True))})\b", re.IGNORECASE)
_EXCHANGED: Final = 0.6  # of the phrases that could be
_TRIES: Final = 20  # for each wording that is wanted, since chance makes some twice
_OPENERS: Final = frozenset(
    (
        *("which", "what", "when", "whenever", "how", "why", "where", "who", "the", "a", "an", "in", "on", "of", "to", "if"),
        *("all", "after", "during", "some", "each", "most", "this", "these", "it"),
    )
)
"""Words that have a capital at the head of a text only."""

_TASK: Final = (
    "You say a note again in other words, but keep the words that are asked for. Copy every code, number and name exactly."
)
_EXAMPLES: Final = (
    (
        "When the Orla-2 dryer stops with K11 after its lid was opened, press the lid switch for 5 seconds.",
        "press the lid switch",
        "If K11 halts the Orla-2 dryer once somebody opened the lid, press the lid switch and hold it for 5 seconds.",
    ),
    (
        "Which metal conducts electricity best at room temperature? silver",
        "silver",
        "Of all metals silver lets electricity through most easily at room temperature.",
    ),
)
_TEMPERATURE: Final = 0.9
_MAX_TOKENS: Final = 96


def prompt(text: str, *, right: str) -> Prompt:
    """Ask a model for a text in other words, after worked examples.

    :param right: the right answer, whose words are to stay.
    """
    turns = [Message("system", _TASK)]
    for before, words_kept, after in _EXAMPLES:
        turns += [Message("user", _asked(before, words_kept)), Message("assistant", after)]
    return Prompt((*turns, Message("user", _asked(text, right))), shared=len(turns))


def sampling(number: int) -> Sampling:
    """Return how the so-and-so-many-th wording is drawn: at a temperature, by a seed of its own."""
    return Sampling(max_tokens=_MAX_TOKENS, temperature=_TEMPERATURE, seed=number, stop=("\n",))


def keeps(wording: str, text: str, *, right: str) -> bool:
    """Whether a wording says what the text says, as far as can be told from its words.

    It has the text's codes, numbers and names and none of its own, denies something just where the text does, holds those words
    of the right answer that the text holds, and :data:`MIN_KEPT` of all its terms.

    :param right: the right answer.
    """
    if not is_clean(wording) or len(wording.encode()) > MAX_TEXT:
        return False
    of_text, of_wording = stems(text), stems(wording)
    return (
        codes(wording) == codes(text)
        and numbers(wording) == numbers(text)
        and negates(wording) == negates(text)
        and not names(text) - words(wording)
        and not names(wording) - words(text)
        and stems(right) & of_text <= of_wording
        and len(of_text & of_wording) >= MIN_KEPT * len(of_text)
    )


def by_rule(text: str, *, right: str, rng: random.Random, most: int) -> list[str]:
    """Return at most so many different wordings of a text, none of them the text itself. There may be fewer.

    :param right: the right answer, whose words stay.
    """
    made: dict[str, None] = {}
    for _ in range(most * _TRIES):
        if len(made) == most:
            break
        wording = _once(text, stems(right), rng)
        if wording != text and keeps(wording, text, right=right):
            made[wording] = None
    return list(made)


def _asked(text: str, right: str) -> str:
    return f"Keep: {right}\nNote: {text}"


def _once(text: str, kept: set[str], rng: random.Random) -> str:
    said = _PHRASE.sub(lambda match: _exchanged(match[0], kept, rng), _rearranged(text, rng))
    lead, tail = rng.choice(_LEADS), rng.choice(_TAILS)
    if lead:
        said = lead + _small(said)
    return said.rstrip() + (tail if said.rstrip()[-1:] in ".!?" or not tail else f".{tail}")


def _rearranged(text: str, rng: random.Random) -> str:
    question, answer = (part.strip() for part in question_and_answer(text))
    if not question or not answer or rng.random() < 1 / (len(_SPLIT) + 1):
        return text
    question, answer = question.rstrip(".:"), answer.rstrip(".")
    form = rng.choice(_SPLIT)
    if form.startswith("{question}"):
        return f"{question} {answer}" if question.endswith("?") else form.format(question=question, answer=_small(answer))
    return form.format(question=_small(question), Answer=answer[0].upper() + answer[1:])


def _exchanged(phrase: str, kept: set[str], rng: random.Random) -> str:
    if stems(phrase) & kept or rng.random() > _EXCHANGED:
        return phrase
    other = rng.choice(_OTHERS[phrase.lower()])
    return other[0].upper() + other[1:] if phrase[0].isupper() else other


def _small(text: str) -> str:
    """Begin a text without a capital, unless it begins with a name."""
    return text[0].lower() + text[1:] if text.split(maxsplit=1)[0].lower() in _OPENERS else text
