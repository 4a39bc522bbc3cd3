"""The facts of a text that must survive when it is put in other words (pure).

Codes, numbers, names and negations are what small models lose and make up; everything that checks a text against another
compares these. Words are compared as the index does (:attr:`espeer.bm25.BM25Index.tokenize`).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import Final

from espeer.bm25 import BM25Index

_CODE = re.compile(r"\b(?=[\w-]*\d)(?=[\w-]*[^\W\d_])\w+(?:-\w+)*")
_NUMBER = re.compile(r"(?<![\w.,-])[-+]?\d+(?:[.,]\d+)*(?![\w-]*\d)")  # of its own or with a unit, not inside a code
_NAME = re.compile(r"(?<=[\w,;:)] )[A-Z][\w'-]+")  # a capital inside a sentence
_WORD = re.compile(r"[\w'-]+")
_NEGATION = re.compile(r"\b(?:not|no|never|without|nothing|cannot|avoid|avoiding|unless|except)\b|n't\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n")
_CLAUSE_END = re.compile(r"[,;:.!?](?=\s|$)|\n|\bbut\b", re.IGNORECASE)

_NUMBER_WORDS = "one two three four five six seven eight nine ten eleven twelve".split()  # noqa: SIM905 - reads best
_ORDINALS = "third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()  # noqa: SIM905 - "second" is a unit
_IN_WORDS: Final = {word: str(number) for number, word in enumerate(_NUMBER_WORDS, 1)}
_PLACES: Final = {word: str(number) for number, word in enumerate(_ORDINALS, 3)}
_WORDS_FOR_NUMBERS: Final = frozenset(_IN_WORDS) | frozenset(_PLACES)
_UNITS: Final = {
    word: (symbol, Decimal(factor))
    for symbol, factor, words in (
        ("s", "0.001", "ms millisecond milliseconds"),
        ("s", "1", "s sec secs second seconds"),
        ("s", "60", "min mins minute minutes"),
        ("s", "3600", "h hour hours"),
        ("s", "86400", "day days"),
        ("m", "0.001", "mm millimetre millimetres millimeter millimeters"),
        ("m", "0.01", "cm centimetre centimetres centimeter centimeters"),
        ("m", "1", "m metre metres meter meters"),
        ("m", "1000", "km kilometre kilometres kilometer kilometers"),
        ("g", "1", "g gram grams"),
        ("g", "1000", "kg kilo kilos kilogram kilograms"),
        ("l", "0.001", "ml millilitre millilitres milliliter milliliters"),
        ("l", "1", "l litre litres liter liters"),
        ("bar", "0.001", "mbar"),
        ("bar", "1", "bar"),
        ("V", "1", "v volt volts"),
        ("A", "1", "amp amps ampere amperes"),
        ("W", "1", "w watt watts"),
        ("W", "1000", "kw kilowatt kilowatts"),
        ("Hz", "1", "hz hertz"),
        ("Hz", "1000", "khz kilohertz"),
        ("rpm", "1", "rpm"),
        ("Nm", "1", "nm"),
        ("%", "1", "% percent"),
        ("°", "1", "° degree degrees"),
        ("th", "1", "st nd rd th"),
    )
    for word in words.split()
}
_UNIT = r"\s?(?P<unit>[%°]|[^\W\d_]+)?"
_QUANTITY = re.compile(rf"(?P<number>{_NUMBER.pattern}){_UNIT}")
_QUANTITY_IN_WORDS = re.compile(rf"\b(?P<number>{'|'.join(_IN_WORDS)})\b{_UNIT}|\b(?P<place>{'|'.join(_PLACES)})\b")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+")

_LEADING_QUESTION = re.compile(r"(?:when|whenever|if|to)\b", re.IGNORECASE)
_TRAILING_QUESTION = re.compile(r"\s(?=(?:when|whenever|if)\s)", re.IGNORECASE)
_QUESTION_END = re.compile(r":\s|(?<=[.!?])\s|\n")
_LEADING_QUESTION_END = re.compile(rf",\s|{_QUESTION_END.pattern}")

_WHETHER: Final = frozenset(BM25Index.tokenize("help cure work fix solve change clear success effect avail use result"))
"""Terms that say whether an answer was right and not what it was."""

_MOSTLY: Final = 0.8
"""A denial and an assertion whose terms overlap so much contradict each other."""

_NOTE = re.compile(r" \((\d{1,9}) of \d{1,9} sources agree; the others say otherwise\.\)$")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number and what it counts.

    :ivar value: in the unit's base, such as "0.004" for 4 mm; as written where it is no single number ("1.2.3").
    :ivar unit: the base unit's symbol; "" where none is known.
    """

    value: str
    unit: str

    def is_like(self, other: "Quantity") -> bool:
        """Whether both may measure the same thing: units are equal, or one is not known."""
        return self.unit == other.unit or not self.unit or not other.unit


@dataclass(frozen=True)
class Essence:
    """What a text says. Each fact is taken out when it is first asked for, and kept: texts are compared often."""

    text: str

    @cached_property
    def codes(self) -> frozenset[str]:
        """See :func:`codes`."""
        return frozenset(codes(self.text))

    @cached_property
    def numbers(self) -> frozenset[str]:
        """See :func:`numbers`."""
        return frozenset(numbers(self.text))

    @cached_property
    def quantities(self) -> frozenset[Quantity]:
        """See :func:`quantities`."""
        return quantities(self.text)

    @cached_property
    def names(self) -> frozenset[str]:
        """See :func:`names`."""
        return frozenset(names(self.text))

    @cached_property
    def words(self) -> frozenset[str]:
        """See :func:`words`: where the names of another text are looked for."""
        return frozenset(words(self.text))

    @cached_property
    def stems(self) -> frozenset[str]:
        """See :func:`stems`."""
        return frozenset(stems(self.text))

    @cached_property
    def negates(self) -> bool:
        """See :func:`negates`."""
        return negates(self.text)

    @cached_property
    def denied(self) -> frozenset[tuple[str, ...]]:
        """For each negation the terms that it is about, in their order."""
        return _denied_and_asserted(self.text)[0] if self.negates else frozenset()

    @cached_property
    def asserted(self) -> frozenset[str]:
        """The terms that no negation is about."""
        return _denied_and_asserted(self.text)[1] if self.negates else self.stems


def codes(text: str) -> set[str]:
    """Return the words that mix letters and digits, such as "E42", "eth0" or "Kestrel-3", case-folded."""
    return {match.casefold() for match in _CODE.findall(text)}


def numbers(text: str) -> set[str]:
    """Return the numbers, as written; not those inside codes, nor those in words."""
    return set(_NUMBER.findall(text))


def quantities(text: str) -> frozenset[Quantity]:
    """Return the numbers with their units. In words they are known from two to twelve, and third to twelfth."""
    found = {_quantity(match["number"], match["unit"]) for match in _QUANTITY.finditer(text)}
    folded = text.casefold()
    if not _WORDS_FOR_NUMBERS.isdisjoint(_WORD.findall(folded)):
        for match in _QUANTITY_IN_WORDS.finditer(folded):
            if match["place"]:
                found.add(Quantity(_PLACES[match["place"]], "th"))
            elif match["number"] != "one" or match["unit"] in _UNITS:  # "the one" is no number
                found.add(_quantity(_IN_WORDS[match["number"]], match["unit"]))
    return frozenset(found)


def names(text: str) -> set[str]:
    """Return the words with a capital that do not begin a sentence, case-folded."""
    return set(map(str.casefold, _NAME.findall(text)))


def words(text: str) -> set[str]:
    """Return the distinct words, case-folded."""
    return set(map(str.casefold, _WORD.findall(text)))


def stems(text: str) -> set[str]:
    """Return the distinct terms as the index has them, so that "replacing the clips" keeps "replace the clip"."""
    return set(BM25Index.tokenize(text))


def negates(text: str) -> bool:
    """Whether there is a negation."""
    return _NEGATION.search(text) is not None


def sentences(text: str) -> list[str]:
    """Split into sentences, each with punctuation at its end."""
    found = filter(None, (piece.strip() for piece in _SENTENCE_END.split(text)))
    return [piece if piece[-1] in ".!?:;" else piece + "." for piece in found]


def question_and_answer(text: str) -> tuple[str, str]:
    """Split into what a text is about and what it says of it.

    The question is a first clause with "when", "if" or "to", else what stands before the first colon or sentence end, else a
    last clause with "when" or "if". It is "" where there is none of them.
    """
    end = (_LEADING_QUESTION_END if _LEADING_QUESTION.match(text) else _QUESTION_END).search(text.strip())
    if end:
        return text.strip()[: end.start()], text.strip()[end.end() :]
    if last := _TRAILING_QUESTION.search(text.strip()):
        return text.strip()[last.end() :], text.strip()[: last.start()]
    return "", text.strip()


def cut(sentence: str, longest: int) -> str:
    """Shorten a sentence to so many UTF-8 bytes, never inside a character."""
    return sentence if len(sentence.encode()) <= longest else sentence.encode()[:longest].decode(errors="ignore").strip()


def size(parts: Iterable[str]) -> int:
    """Number of UTF-8 bytes of sentences when they are joined by spaces."""
    return sum(len(sentence.encode()) + 1 for sentence in parts) - 1


def overlap(a: frozenset[str], b: frozenset[str]) -> float:
    """Return the share of the smaller set that the larger one holds, 0 to 1; 0 where one is empty."""
    return len(a & b) / min(len(a), len(b)) if a and b else 0.0


def conflict(a: Essence, b: Essence, *, whole_a: Essence, whole_b: Essence, alike: float) -> bool:
    """Whether parts of two texts about one thing cannot both be true.

    They differ in a number of the same unit, or in a name, and their other terms overlap by ``alike`` at least; or one denies
    what the other asserts. A part that only adds to the other is in no conflict with it: each must have what the other lacks.

    :param whole_a, whole_b: the whole texts. What stands elsewhere in the other text is not lacking.
    """
    if any(_asserts(b, terms) for terms in a.denied) or any(_asserts(a, terms) for terms in b.denied):
        return True
    only_a, only_b = unmatched(a, whole_b), unmatched(b, whole_a)
    other_number = any(x.is_like(y) for x in only_a for y in only_b)
    other_name = bool(a.names - a.codes - whole_b.words and b.names - b.codes - whole_a.words)
    return (other_number or other_name) and overlap(_plain(a), _plain(b)) >= alike


def lacks(a: Essence, b: Essence) -> set[str]:
    """Return the codes, numbers and names of ``b`` that ``a`` lacks."""
    return set((b.codes - a.codes) | (b.numbers - a.numbers) | (b.names - a.words))


def unmatched(a: Essence, b: Essence) -> list[Quantity]:
    """Return the quantities of ``a`` that ``b`` lacks. One without a unit is the same as one with."""
    return [x for x in a.quantities if not any(x.value == y.value and x.is_like(y) for y in b.quantities)]


def answer_terms(answer: Essence, question: Essence) -> frozenset[str]:
    """Return the terms of an answer that are its own: not its question's, and not about whether it was right."""
    return answer.stems - question.stems - _WHETHER


def without_note(text: str) -> str:
    """Return a condensate's text without the :func:`note` behind it."""
    return _NOTE.sub("", text)


def note(agreeing: int, total: int) -> str:
    """Return what is put behind a condensate whose sources contradict each other; "" where they do not."""
    return f" ({agreeing} of {total} sources agree; the others say otherwise.)" if agreeing < total else ""


def noted(text: str) -> int | None:
    """Return how many sources agree by the :func:`note` behind a text, or None where there is none."""
    match = _NOTE.search(text)
    return int(match[1]) if match else None


def _asserts(essence: Essence, terms: tuple[str, ...]) -> bool:
    """The first term after a negation is what it is about; what follows may be the circumstances."""
    return terms[0] in essence.asserted and overlap(frozenset(terms), essence.asserted) >= _MOSTLY


def _plain(essence: Essence) -> frozenset[str]:
    """Return the terms without numbers and names."""
    return frozenset(term for term in essence.stems if term.isalpha()) - stems(" ".join(essence.names))


def _quantity(number: str, word: str | None) -> Quantity:
    unit, factor = _UNITS.get((word or "").casefold(), ("", Decimal(1)))
    plain = number.replace(",", "") if _THOUSANDS.fullmatch(number) else number.replace(",", ".")
    try:
        return Quantity(f"{(Decimal(plain) * factor).normalize():f}", unit)
    except InvalidOperation:  # "1.2.3"
        return Quantity(number, unit)


def _denied_and_asserted(text: str) -> tuple[frozenset[tuple[str, ...]], frozenset[str]]:
    """A negation is about what follows it in its clause ("do not open it"), or else what precedes it ("a restart did not")."""
    denied, asserted = set[tuple[str, ...]](), set[str]()
    for clause in _CLAUSE_END.split(text):
        negation = _NEGATION.search(clause)
        if negation is None:
            asserted |= stems(clause)
            continue
        before = clause[: negation.start()]
        if about := _telling(clause[negation.end() :]):
            asserted |= stems(before)
        denied.add(about or _telling(before))
    return frozenset(filter(None, denied)), frozenset(asserted)


def _telling(text: str) -> tuple[str, ...]:
    return tuple(term for term in BM25Index.tokenize(text) if term not in _WHETHER)
