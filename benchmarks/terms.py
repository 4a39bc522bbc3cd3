"""The two ways in which texts are split where engines are timed."""

from typing import Final

from espeer.tokens import Tokenizer

EVERY_WORD: Final = "every word"
DEFAULT: Final = "default terms"
TOKENIZERS: Final = {EVERY_WORD: Tokenizer(language=None, stop_words=frozenset()), DEFAULT: Tokenizer()}
"""By name: every word as it stands, and espeer's default, which leaves out stop words and stems."""
