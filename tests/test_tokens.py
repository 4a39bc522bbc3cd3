"""From a text to its terms."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espeer.errors import ConfigError
from espeer.tokens import Tokenizer

tokenize = Tokenizer()


def test_codes_numbers_and_unicode_are_terms_and_stop_words_are_not() -> None:
    assert tokenize("The E42 on eth0, at 4 °C: ÖLFILTER") == ["e42", "eth0", "4", "c", "ölfilter"]


def test_words_are_reduced_to_their_stems_and_codes_are_not() -> None:
    assert tokenize("leaking pumps, leaks pumped") == ["leak", "pump", "leak", "pump"]
    assert tokenize("ports of port80s") == ["port", "port80s"]


def test_vowel_signs_stay_with_their_word_and_ideographs_are_terms_of_their_own() -> None:
    assert tokenize("हिन्दी पंप") == ["हिन्दी", "पंप"]
    assert tokenize("水泵E42ポンプ") == ["水", "泵", "e42ポンプ"]


def test_one_text_has_one_form_whatever_its_encoding() -> None:
    assert tokenize("Ⅷ ﬁlter Café") == tokenize("viii filter Cafe\u0301")


def test_another_language_or_none() -> None:
    assert Tokenizer(language="german", stop_words=frozenset())("Die Pumpen laufen") == ["die", "pump", "lauf"]
    assert Tokenizer(language=None, stop_words=frozenset())("The pumps") == ["the", "pumps"]
    with pytest.raises(ConfigError, match="language 'klingon' is none of "):
        Tokenizer(language="klingon")


@given(st.text())
def test_any_text_has_terms_without_spaces_that_do_not_depend_on_what_came_before(text: str) -> None:
    terms = tokenize(text)
    assert all(term and not any(character.isspace() for character in term) for term in terms)
    assert terms == Tokenizer()(text)


def test_the_signature_is_the_same_in_any_process_and_differs_with_the_terms() -> None:
    script = "from espeer.tokens import Tokenizer; print(Tokenizer().signature)"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        said = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
        assert said.stdout.strip() == tokenize.signature
    assert len({tokenize.signature, Tokenizer(language="german").signature, Tokenizer(stop_words=frozenset()).signature}) == 3


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_plain_ascii_is_split_as_if_it_were_not(text: str) -> None:
    assert tokenize(text) == [term for term in tokenize(text + " ö") if term != "ö"]
