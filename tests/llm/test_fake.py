import bringing
import pytest

from espeer.errors import ModelError, PromptTooLong
from espeer.llm.fake import UNKNOWN, FakeModel
from espeer.llm.grammar import in_words
from espeer.llm.model import Message, Note, Prompt, Sampling

NOTES = "Notes:\n- Fault E42 of the pump: clean the intake filter. It is behind the door.\n- The lamp needs a battery.\n"


def answer(model: FakeModel, text: str, sampling: Sampling, system: str = "") -> str:
    messages = (Message("system", system), Message("user", text)) if system else (Message("user", text),)
    return bringing.answer(model, Prompt(messages), sampling)


def prompt(text: str) -> Prompt:
    return Prompt((Message("user", text),))


def test_it_quotes_what_was_recalled() -> None:
    question = "What cures fault E42 of the pump?"
    assert answer(FakeModel(), NOTES + question, Sampling()) == "- Fault E42 of the pump: clean the intake filter."
    assert answer(FakeModel(), question, Sampling(), NOTES) == "- Fault E42 of the pump: clean the intake filter."
    assert answer(FakeModel(), question, Sampling()) == UNKNOWN


def test_it_quotes_notes() -> None:
    notes = (Note("1", "- The lamp needs a battery.\n"), Note("2", "- Fault E42: clean the filter.\n"))
    message = Message("user", "What cures fault E42?", lead="Notes:\n", notes=notes)
    model = FakeModel()
    assert bringing.answer(model, Prompt((message,)), Sampling()) == "- Fault E42: clean the filter."
    assert model.size(Prompt((message,))) == 1 + 6 + 6 + 4


def test_it_chooses_by_common_words() -> None:
    grammar = Sampling(grammar='root ::= "general" | "pumps and valves" | "lamps"')
    assert answer(FakeModel(), "the pumps leak", grammar) == "pumps and valves"
    assert answer(FakeModel(), "nothing known", grammar) == "general"
    assert answer(FakeModel(), "x", Sampling(grammar=r'root ::= "say \"x\""')) == 'say "x"'
    assert answer(FakeModel(), "the lamps leak", Sampling(grammar=in_words(["lamps", "the"], 9))) == "the"
    with pytest.raises(ModelError, match="only knows grammars"):
        answer(FakeModel(), "x", Sampling(grammar="root ::= [a-z]+"))


def test_it_finds_known_words_likelier() -> None:
    model = FakeModel()
    known, unknown = bringing.score(model, prompt(NOTES), [" the filter", " the zebra"])
    assert known.per_token > unknown.per_token
    assert known.tokens == unknown.tokens == 2
    assert bringing.score(model, prompt(NOTES), []) == []


def test_limits_and_stops() -> None:
    model = FakeModel(lambda *_: "one two three four", context=10)
    assert answer(model, "x", Sampling(max_tokens=2)) == "one two"
    assert answer(model, "x", Sampling(max_tokens=9, stop=("o th",))) == "one tw"
    with pytest.raises(PromptTooLong):
        answer(model, "x", Sampling(max_tokens=10))
    with pytest.raises(PromptTooLong):
        model.score(prompt("x"), ["y " * 10])
    assert model.count("a b\nc") == 3
    assert model.name == "fake"
    assert len(model.digest) == 64


@pytest.mark.parametrize(
    ("sampling", "finish"),
    [
        (Sampling(), "stop"),
        (Sampling(max_tokens=3), "stop"),
        (Sampling(max_tokens=2), "length"),
        (Sampling(max_tokens=2, stop=("two",)), "stop"),
    ],
)
def test_it_says_why_it_ended(sampling: Sampling, finish: str) -> None:
    model = FakeModel(lambda *_: "one two three")
    run = model.generate(prompt("x"), sampling)
    assert run.finish is None
    bringing.bring(model, run)
    assert run.finish == finish


def test_a_step_brings_each_run_on_by_a_word() -> None:
    model = FakeModel(lambda prompt, _: prompt.messages[0].text, width=2)
    runs = [model.generate(prompt(text), Sampling()) for text in ("one two", "three", "four")]
    scores = model.score(prompt("x"), ["a", "b"])
    model.step(runs)
    assert [(run.take(), run.done) for run in runs] == [("one", False), ("three", True), ("", False)]
    model.interrupt()
    model.step([runs[0], scores])
    assert (runs[0].take(), runs[0].done, scores.done) == (" two", True, False)
    model.step([scores])
    assert scores.done


def test_an_empty_reply_is_one() -> None:
    assert answer(FakeModel(lambda *_: ""), "x", Sampling()) == ""


def test_it_remembers_what_was_warmed() -> None:
    model = FakeModel()
    assert not model.is_warm(prompt("x"), 4)
    run = model.warm(prompt("x"), 4)
    assert not model.is_warm(prompt("x"), 4)
    assert bringing.bring(model, run) == ""
    assert model.is_warm(prompt("x"), 4)
    assert not model.is_warm(prompt("x"), 5)
    assert model.statistics() == {"warmed": 1}


def test_runs_and_the_model_can_be_closed() -> None:
    model = FakeModel(lambda *_: "one two")
    run = model.generate(prompt("x"), Sampling())
    run.close()
    run.close()
    model.step([run])
    assert (run.done, run.take()) == (True, "")
    model.close()
    with pytest.raises(ModelError, match="closed"):
        model.generate(prompt("x"), Sampling())
    with pytest.raises(ModelError, match="closed"):
        model.warm(prompt("x"), 1)
