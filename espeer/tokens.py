"""From a text to the terms that retrieval compares (pure)."""

import hashlib
import re
import unicodedata
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

_WORD = re.compile(r"\w+")
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
    _terms: "_Terms" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse an unknown language."""
        if self.language is not None and self.language not in Stemmer.algorithms():
            raise ConfigError(f"language {self.language!r} is none of {', '.join(Stemmer.algorithms())}")
        object.__setattr__(self, "_terms", _Terms(self.language, self.stop_words))

    @property
    def signature(self) -> str:
        """What the terms depend on: equal for tokenizers that split every text alike, in any process."""
        words = hashlib.sha256(" ".join(sorted(self.stop_words)).encode()).hexdigest()[:16]
        return f"terms {_VERSION}, {self.language} of Snowball {Stemmer.version()}, without {words}"

    def __call__(self, text: str) -> list[str]:
        """Split a text into terms, in their order."""
        if text.isascii():
            words = _WORD.findall(text.lower())
        else:
            words = unicodedata.normalize("NFKC", text).casefold().translate(_WORDS_APART).split()
        terms = self._terms
        return [term for word in words if (term := terms[word])]


class _Terms(dict[str, str]):
    """The term that a word stands for, "" for a stop word. Filled with the words that are met; emptied when it is large."""

    def __init__(self, language: str | None, stop_words: frozenset[str]) -> None:
        super().__init__()
        self._stem = Stemmer.Stemmer(language, 0).stemWord if language else str
        self._stop_words = stop_words

    def __missing__(self, word: str) -> str:
        term = "" if word in self._stop_words else self._stem(word) if word.isalpha() else word
        if len(word) <= _LONGEST_KEPT:
            if len(self) >= _MOST_KEPT:
                self.clear()
            self[word] = term
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
