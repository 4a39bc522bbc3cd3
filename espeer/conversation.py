"""A question, and the conversation that it ends (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal

from espeer.errors import InputError
from espeer.text import MAX_INPUT, clean

MAX_TURN: Final = 32 * 1024
"""The most UTF-8 bytes of what was said before the question, for each turn; the question itself has at most
:data:`espeer.text.MAX_INPUT`."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Something that was said.

    :ivar role: "system" says how to answer, "user" asked, "assistant" answered.
    """

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """What is asked.

    :ivar question: recalled for, answered, and captured; nothing else of the conversation is.
    :ivar task: how to answer; or "", for the node's usual way.
    :ivar earlier: user and assistant in turn, from a user's turn to an assistant's.
    """

    question: str
    task: str = ""
    earlier: tuple[Turn, ...] = ()


def read(asked: str | Sequence[Turn]) -> Conversation:
    """Read a question, or a conversation that ends with one.

    System turns are gathered, wherever they stand. Turns of the same role that follow each other are one. An assistant's
    before the first of a user's is left out: there are models that cannot read it.

    :raises InputError: there is no question at the end, or a text is too long.
    """
    if isinstance(asked, str):
        return Conversation(clean(asked, limit=MAX_INPUT, what="the question"))
    task = "\n\n".join(turn.text for turn in asked if turn.role == "system")
    said = [turn for turn in asked if turn.role != "system" and turn.text.strip()]
    joined = [Turn(role, "\n\n".join(turn.text for turn in turns)) for role, turns in groupby(said, lambda turn: turn.role)]
    if not joined or joined[-1].role != "user":
        raise InputError("the conversation does not end with a user's message; put the question there")
    *earlier, last = joined
    if earlier and earlier[0].role == "assistant":
        del earlier[0]
    return Conversation(
        clean(last.text, limit=MAX_INPUT, what="the question"),
        clean(task, limit=MAX_TURN, what="the system message") if task.strip() else "",
        tuple(Turn(turn.role, clean(turn.text, limit=MAX_TURN, what="an earlier message")) for turn in earlier),
    )
