"""What is taken of a conversation."""

import pytest

from espeer.conversation import MAX_TURN, Conversation, Turn, read
from espeer.errors import InputError

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"


def test_a_question_alone_is_the_same_either_way() -> None:
    assert read("  What  now?\x00") == read([Turn(USER, "  What  now?\x00")]) == Conversation("What now?")


def test_a_conversation_is_taken_apart() -> None:
    turns = [Turn(SYSTEM, "Be brief."), Turn(USER, "One?"), Turn(ASSISTANT, "1."), Turn(USER, "Two?")]
    assert read(turns) == Conversation("Two?", "Be brief.", (Turn(USER, "One?"), Turn(ASSISTANT, "1.")))


def test_system_turns_are_gathered_and_turns_of_the_same_role_joined() -> None:
    turns = [
        Turn(SYSTEM, "Be brief."),
        Turn(ASSISTANT, "Hello!"),
        Turn(USER, "One?"),
        Turn(USER, "I mean, 1?"),
        Turn(ASSISTANT, " "),
        Turn(ASSISTANT, "1."),
        Turn(SYSTEM, "Be kind."),
        Turn(USER, "Two?"),
        Turn(USER, "Well?"),
    ]
    assert read(turns) == Conversation(
        "Two?\nWell?", "Be brief.\nBe kind.", (Turn(USER, "One?\nI mean, 1?"), Turn(ASSISTANT, "1."))
    )


@pytest.mark.parametrize(
    "turns",
    [
        [],
        [Turn(SYSTEM, "Be brief.")],
        [Turn(USER, " ")],
        [Turn(USER, "One?"), Turn(ASSISTANT, "1.")],
    ],
)
def test_without_a_question_at_the_end_nothing_can_be_asked(turns: list[Turn]) -> None:
    with pytest.raises(InputError, match="does not end with a user's message"):
        read(turns)


@pytest.mark.parametrize(
    ("turns", "what"),
    [
        ([Turn(USER, "x" * 8193)], "the question is too long"),
        ([Turn(SYSTEM, "x" * (MAX_TURN + 1)), Turn(USER, "?")], "the system message is too long"),
        ([Turn(USER, "x" * (MAX_TURN + 1)), Turn(ASSISTANT, "y"), Turn(USER, "?")], "an earlier message is too long"),
    ],
)
def test_texts_are_bounded(turns: list[Turn], what: str) -> None:
    with pytest.raises(InputError, match=what):
        read(turns)
