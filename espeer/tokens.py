"""From a text to the terms that retrieval compares (pure)."""

import hashlib
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import Stemmer

from espeer.errors import ConfigError

_STOP_WORDS = """
a about after all also am an and any are as at be because been before being but by can could did do does doing for from had
has have having he her here hers him his how i if in into is it its itself just me more most my no nor not of off on once only
or other our ours out over own same she should so some such than that the their them then there these they this those through
to too under until up very was we were what when where which while who whom why will with would you your
"""
STOP_WORDS: Final = frozenset(_STOP_WORDS.split())
"""English words that say nothing of a text's subject."""

_VERSION: Final = 1  # raised with any change of what :class:`Tokenizer` does
_MOST_KEPT: Final = 50_000
_LONGEST_KEPT: Final = 40


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Splits a text into case-folded words, numbers and codes ("E42", "eth0").

    Scripts that put no spaces between words (Han, Hiragana) are split into characters, as in Unicode's annex 29.

    :ivar language: a Snowball language (snowballstem.org/algorithms) whose words are reduced to their stems, such as
        "english" or "german"; None leaves words as they are. What holds a digit is never changed.
    :ivar stop_words: are left out.
    :raises ConfigError: there is no such language.
    """

    language: str | None = "english"
    stop_words: frozenset[str] = STOP_WORDS
    _terms: dict[str, str] = field(init=False, repr=False, compare=False, default_factory=dict)
    _stem: Callable[[str], str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse an unknown language."""
        if self.language is not None and self.language not in Stemmer.algorithms():
            raise ConfigError(f"language {self.language!r} is none of {', '.join(Stemmer.algorithms())}")
        object.__setattr__(self, "_stem", Stemmer.Stemmer(self.language, 0).stemWord if self.language else str)

    @property
    def signature(self) -> str:
        """What the terms depend on: equal for tokenizers that split every text alike, in any process."""
        words = hashlib.sha256(" ".join(sorted(self.stop_words)).encode()).hexdigest()[:16]
        return f"terms {_VERSION}, {self.language} of Snowball {Stemmer.version()}, without {words}"

    def __call__(self, text: str) -> list[str]:
        """Split a text into terms, in their order."""
        if text.isascii():
            words = text.translate(_ASCII_WORDS_APART).split()
        else:
            words = unicodedata.normalize("NFKC", text).casefold().translate(_WORDS_APART).split()
        terms = list(map(self._terms.get, words))
        if None in terms:
            terms = [self._terms.get(word) or self._learn(word) for word in words]
        return list(filter(None, terms))

    def _learn(self, word: str) -> str:
        """Return the term that a word stands for, "" for a stop word, and keep it for the next time."""
        term = "" if word in self.stop_words else self._stem(word) if word.isalpha() else word
        if len(word) <= _LONGEST_KEPT:
            if len(self._terms) >= _MOST_KEPT:
                self._terms.clear()
            self._terms[word] = term
        return term


class _WordsApart(dict[int, str]):
    r"""For :meth:`str.translate`: letters, numbers and the marks on them stay, everything else becomes a space.

    ``\w`` would cut words of many scripts at their vowel signs. Filled with the characters that are met.
    """

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if character != "_" and unicodedata.category(character)[0] not in "LNM":
            kept = " "
        elif unicodedata.name(character, "").startswith(("CJK UNIFIED", "HIRAGANA")):
            kept = f" {character} "
        else:
            kept = character
        self[code] = kept
        return kept


_WORDS_APART: Final = _WordsApart()
_ASCII_WORDS_APART: Final = "".join(_WORDS_APART[code].lower() for code in range(128))  # the same, and twice as fast
