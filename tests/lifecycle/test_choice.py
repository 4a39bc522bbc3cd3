import pytest

from espeer.lifecycle import prompts
from espeer.lifecycle.choice import pick
from espeer.llm.model import Score


def test_by_text_the_choices_are_not_in_the_prompt() -> None:
    prompt, continuations = prompts.choose(
        "Which port?", ["port 1", "port 2"], [prompts.note("a", "Use port 2."), prompts.note("b", "Mind the gap.")], "text"
    )
    assert prompt.messages[-1].text == "Notes:\n- Use port 2.\n- Mind the gap.\n\nQuestion: Which port?"
    assert prompt.opening == "Answer:"
    assert continuations == (" port 1", " port 2")


def test_by_letter_they_are() -> None:
    prompt, continuations = prompts.choose("Which port?", ["one", "two"], [], "letter")
    assert prompt.messages[-1].content == "Question: Which port?\nA. one\nB. two"
    assert continuations == (" A", " B")


def test_texts_are_compared_by_token_and_letters_are_not() -> None:
    scores = [Score(-4.0, 1), Score(-6.0, 3), Score(-9.0, 3)]
    index, shares = pick(scores, "text")
    assert index == 1
    assert sum(shares) == pytest.approx(1)
    assert shares[1] > shares[2] > shares[0]
    assert pick(scores, "letter")[0] == 0
    assert pick([Score(-1e9, 1), Score(-1e9, 1)], "letter") == (0, [0.5, 0.5])
