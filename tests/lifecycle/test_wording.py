"""The words of an instruction: those of the outcome and their forms, and nothing made up."""

import re

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from espeer.lifecycle import prompts
from espeer.lifecycle.wording import instruction
from espeer.llm.engine import Engine
from espeer.llm.model import Model, Sampling


def words(outcomes: str) -> set[str]:
    grammar = instruction(outcomes)
    assert grammar is not None
    return set(re.findall(r'"([^"]*)"', grammar.rpartition("word ::= ")[2]))


def test_codes_and_numbers_stay_as_they_are_and_verbs_lose_their_ending() -> None:
    said = words("Plugging port LS4 (1.6 mm), then wiping; it STAYED dry: pressed.")
    assert {"Plugging", "plugging", "plug", "LS4", "1.6", "mm", "wipe", "then", "STAYED", "dry", "press", "the"} <= said
    assert not said & {"ls4", "STAY", "5", "lid"}


@pytest.mark.parametrize("outcomes", ["", " .; ", " ".join(map(str, range(500)))])
def test_of_too_many_words_or_none_there_is_no_grammar(outcomes: str) -> None:
    assert instruction(outcomes) is None


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=80))
def test_any_clean_outcome_has_a_grammar_or_none(outcomes: str) -> None:
    instruction(outcomes)


@pytest.mark.model
async def test_the_real_model_says_nothing_but_these_words(real_model: Model) -> None:
    outcome = "Inverting the relief bobbin in its bore has held the gap to a hair."  # without a grammar it puts "parameter P12"
    engine = Engine(real_model)
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        said = await engine.complete(prompts.instruct(outcome), Sampling(40, grammar=instruction(outcome)))
        nursery.cancel_scope.cancel()
    assert said
    assert {word.rstrip(",;.") for word in said.split()} <= words(outcome)
