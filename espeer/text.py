"""What may stand in a text: the rules for interactions, experiences and questions (pure).

Texts come from users, models and strangers, and end in prompts, terminals and logs. So control characters and
bidirectional overrides (CVE-2021-42574, "Trojan Source") never get in, nor letters that nobody sees (tag characters, which hide
prompts in texts, among them). Chat-template tokens such as ``<|im_start|>`` are
harmless text here: the model layer never reads content as special tokens.
"""

import re
import unicodedata
from typing import Final

from espeer.errors import InputError

MAX_INPUT: Final = 8 * 1024
"""The most UTF-8 bytes of a question, a report, a response or a feedback."""

SLACK: Final = 4
"""Cleaning shortens a text, but what is more than this many times over its limit is not even tried."""

_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff"
    "\u00ad\u200b\u2060-\u2064\u3164\U000e0000-\U000e007f]"
)
_SPACES = re.compile(r"[^\S\n]+")
_BLANK_LINES = re.compile(r"\n\s*\n+")


def is_clean(text: str) -> bool:
    """Whether ``text`` says something and holds none of the forbidden characters."""
    return bool(text.strip()) and _FORBIDDEN.search(text) is None


def visible(text: str) -> str:
    """``text`` with U+FFFD for each forbidden character: fit for a terminal, whoever it comes from."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)


def clean(raw: str, *, limit: int, what: str) -> str:
    """``raw`` in NFC, without forbidden characters, white space folded (line breaks stay).

    :param limit: the most UTF-8 bytes the outcome may have.
    :param what: the name of the text, for the error message.
    :raises InputError: nothing is left, or more than ``limit`` bytes.
    """
    if len(raw) > SLACK * limit:  # bound the work before doing it
        raise InputError(f"{what} is too long: {len(raw):,} characters, at most {limit:,} bytes are taken; shorten it")
    text = unicodedata.normalize("NFC", raw.replace("\r\n", "\n"))
    text = _FORBIDDEN.sub(" ", text)
    text = _BLANK_LINES.sub("\n", _SPACES.sub(" ", text)).strip()
    if not text:
        raise InputError(f"{what} is empty; give it some text")
    size = len(text.encode())
    if size > limit:
        raise InputError(f"{what} is too long: {size:,} bytes, at most {limit:,} are taken; shorten it")
    return text
