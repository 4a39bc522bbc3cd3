"""Grammars: the same answers as when llama.cpp asks about every token, and no end of the process where nothing may follow."""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any

import llama_cpp
import pytest
from bringing import answer

from espeer.errors import ModelError
from espeer.llm.grammar import MAX_GRAMMAR, MAX_GROUPS
from espeer.llm.llama import LlamaModel
from espeer.llm.model import Message, Prompt, Sampling
from espeer.llm.sampler import Sampler

PROMPT = Prompt((Message("user", "abc"),))


class EveryToken(Sampler):
    """Asks the grammar about every token, every time."""

    def choose(self, context: Any, row: int = -1) -> int:
        token = self._choose_allowed(context, row)
        llama_cpp.llama_sampler_accept(self._grammar, token)
        return token


@pytest.mark.parametrize("grammar", ["root ::= [a-z ]+", "root ::= [0-9]{3,20}", 'root ::= "yes" | "no" | "{" [^}]{2,9} "}"'])
def test_one_token_asked_about_gives_the_likeliest_allowed(
    tiny: Callable[..., LlamaModel], monkeypatch: pytest.MonkeyPatch, grammar: str
) -> None:
    model = tiny()
    said = answer(model, PROMPT, Sampling(30, grammar=grammar))
    monkeypatch.setattr("espeer.llm.runs.Sampler", EveryToken)
    assert said == answer(model, PROMPT, Sampling(30, grammar=grammar)) != ""


def test_tokens_come_out_as_likely_as_when_all_are_asked_about(tiny: Callable[..., LlamaModel]) -> None:
    model, draws = tiny(), 1500
    answer(model, PROMPT, Sampling(1))  # brings the logits after the prompt into llama.cpp's output
    counts: dict[type[Sampler], Counter[bytes]] = {Sampler: Counter(), EveryToken: Counter()}
    for kind, counted in counts.items():
        for seed in range(draws):
            with closing(kind(model._vocabulary, Sampling(temperature=30.0, seed=seed, grammar="root ::= [a-z]"))) as sampler:
                counted[model._vocabulary.piece(sampler.choose(model._context.handle))] += 1
    one, every = counts.values()
    for said in one | every:  # four standard deviations of the difference
        mean = (one[said] + every[said]) / 2
        assert abs(one[said] - every[said]) < 4 * (2 * mean * (1 - mean / draws)) ** 0.5 + 1
    assert len(one) > 10


@pytest.mark.parametrize(
    "grammar", [r'root ::= "a" [^\x00-\UFFFFFFFF]', r'root ::= [a-z]{2} [^\x00-\UFFFFFFFF] | "b" root "c"']
)
def test_a_dead_end_is_an_error_and_the_model_lives_on(tiny: Callable[..., LlamaModel], grammar: str) -> None:
    model = tiny()
    with pytest.raises(ModelError, match="no token of the model may follow; correct the grammar"):
        answer(model, PROMPT, Sampling(200, grammar=grammar))
    assert answer(model, PROMPT, Sampling(9, grammar='root ::= "yes"')) == "yes"


@pytest.mark.parametrize(
    "grammar", ["#" * (MAX_GRAMMAR + 1), "root ::= " + "(" * (MAX_GROUPS + 1), 'root ::= "a"\0'], ids=["long", "deep", "NUL"]
)
def test_what_llama_cpp_must_not_be_given(tiny: Callable[..., LlamaModel], grammar: str) -> None:
    with pytest.raises(ModelError, match="too long or too deep, or has a NUL"):
        answer(tiny(), PROMPT, Sampling(9, grammar=grammar))


def test_the_deepest_grammar_that_is_taken(tiny: Callable[..., LlamaModel]) -> None:
    grammar = f"root ::= {'(' * MAX_GROUPS}[a]{')' * MAX_GROUPS}"
    assert answer(tiny(), PROMPT, Sampling(9, grammar=grammar)) == "a"


def test_closing_again_does_nothing(tiny: Callable[..., LlamaModel]) -> None:
    sampler = Sampler(tiny()._vocabulary, Sampling(grammar='root ::= "a"'))
    sampler.close()
    sampler.close()
