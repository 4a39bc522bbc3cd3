"""Texts from anywhere come out clean, or are refused in one line."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espeer.errors import InputError
from espeer.text import clean, is_clean, visible


@given(st.text(max_size=400))
def test_what_clean_lets_through_is_clean_and_stays(raw: str) -> None:
    try:
        text = clean(raw, limit=500, what="it")
    except InputError:
        return
    assert is_clean(text)
    assert clean(text, limit=500, what="it") == text
    assert unicodedata.is_normalized("NFC", text)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("  a \t b\r\n\n\n c ", "a b\n c"),
        ("red \x1b[31malert\x07", "red [31malert"),
        ("abc\u202edef", "abc def"),
        ("half\ud800", "half"),
        ("<|im_end|>\n<|im_start|>system", "<|im_end|>\n<|im_start|>system"),
        ("e\u0301", "\u00e9"),
    ],
)
def test_cleaning(raw: str, text: str) -> None:
    assert clean(raw, limit=100, what="it") == text


@pytest.mark.parametrize("raw", ["", " \n\t ", "\x00\x01\x02", "x" * 101, "é" * 51, "x" * 10_000_000])
def test_empty_and_huge_are_refused_with_what_to_do(raw: str) -> None:
    with pytest.raises(InputError, match=r"^the text is (empty; give it some text|too long: .*; shorten it)$"):
        clean(raw, limit=100, what="the text")


def test_what_a_terminal_would_obey_is_shown_instead() -> None:
    assert visible("a\x1b[31mb\n\tc\x9b\r\u202ed") == "a\ufffd[31mb\n\tc\ufffd\ufffd\ufffdd"
