import pytest

from espeer.errors import ModelError, PromptTooLong
from espeer.llm.fake import UNKNOWN, FakeModel
from espeer.llm.model import Message, Prompt, Sampling

NOTES = "Notes:\n- Fault E42 of the pump: clean the intake filter. It is behind the door.\n- The lamp needs a battery.\n"


def go_on() -> None:
    pass


def answer(model: FakeModel, text: str, sampling: Sampling, system: str = "") -> str:
    messages = (Message("system", system), Message("user", text)) if system else (Message("user", text),)
    return "".join(model.generate(Prompt(messages), sampling, go_on))


def test_it_quotes_what_was_recalled() -> None:
    question = "What cures fault E42 of the pump?"
    assert answer(FakeModel(), NOTES + question, Sampling()) == "- Fault E42 of the pump: clean the intake filter."
    assert answer(FakeModel(), question, Sampling(), NOTES) == "- Fault E42 of the pump: clean the intake filter."
    assert answer(FakeModel(), question, Sampling()) == UNKNOWN


def test_it_chooses_by_common_words() -> None:
    grammar = Sampling(grammar='root ::= "general" | "pumps and valves" | "lamps"')
    assert answer(FakeModel(), "the pumps leak", grammar) == "pumps and valves"
    assert answer(FakeModel(), "nothing known", grammar) == "general"
    assert answer(FakeModel(), "x", Sampling(grammar=r'root ::= "say \"x\""')) == 'say "x"'
    with pytest.raises(ModelError, match="only knows grammars"):
        answer(FakeModel(), "x", Sampling(grammar="root ::= [a-z]+"))


def test_it_finds_known_words_likelier() -> None:
    known, unknown = FakeModel().score(Prompt((Message("user", NOTES),)), [" the filter", " the zebra"], go_on)
    assert known.per_token > unknown.per_token
    assert known.tokens == unknown.tokens == 2


def test_limits_and_stops() -> None:
    model = FakeModel(lambda *_: "one two three four", context=10)
    assert answer(model, "x", Sampling(max_tokens=2)) == "one two"
    assert answer(model, "x", Sampling(max_tokens=9, stop=("o th",))) == "one tw"
    with pytest.raises(PromptTooLong):
        answer(model, "x", Sampling(max_tokens=10))
    with pytest.raises(PromptTooLong):
        model.score(Prompt((Message("user", "x"),)), ["y " * 10], go_on)
    assert model.count("a b\nc") == 3
    assert model.name == "fake"
    assert len(model.digest) == 64


def test_it_can_be_stopped_and_closed() -> None:
    def stop() -> None:
        raise InterruptedError

    model = FakeModel()
    with pytest.raises(InterruptedError):
        list(model.generate(Prompt((Message("user", "x"),)), Sampling(), stop))
    with pytest.raises(InterruptedError):
        model.score(Prompt((Message("user", "x"),)), ["y"], stop)
    model.close()
    with pytest.raises(ModelError, match="closed"):
        answer(model, "x", Sampling())
