"""Conversations laid out as a model was trained to read them.

A chat template comes with the weights, as Jinja2. It is rendered with a placeholder for each text that users, experiences or
strangers wrote, so that afterwards the layout (where ``<|im_end|>`` is a special token) and the contents (where it is eleven
characters) can be told apart. Contents never pass through the template.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from espeer.errors import ModelError, ModelUnreadable
from espeer.llm.model import Message, Prompt

_PLACEHOLDER: Final = re.compile("\ue000([0-9]+)\ue001")  # private-use characters: no template holds them


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a prompt.

    :ivar layout: written by the template: special tokens in it are meant. Otherwise it is plain text.
    :ivar fixed: it is the same in all prompts of a kind.
    :ivar note: of a note, its id.
    """

    text: str
    layout: bool = False
    fixed: bool = False
    note: str | None = None


_Turn = tuple[Message, bool]
"""A message, and whether it is the same in all prompts of a kind."""


class Chat(Protocol):
    """A way to lay out a conversation."""

    @property
    def stop(self) -> tuple[str, ...]:
        """Texts that show that the model has gone on to the next turn."""

    def lay_out(self, prompt: Prompt) -> list[Piece]:
        """The prompt from its first character to where the model goes on."""


class PlainChat:
    """The layout for base models, which were trained on documents and know no turns.

    Notes stand before the question that they are for; one that says itself that it is a question does not say it twice.
    """

    stop: tuple[str, ...] = ("\nQuestion:",)

    def lay_out(self, prompt: Prompt) -> list[Piece]:
        """The prompt as a document of questions and answers, which ends where the next answer is due."""
        marks = {"system": ("", "\n\n"), "user": ("Question: ", "\nAnswer:"), "assistant": (" ", "\n\n")}
        pieces: list[Piece] = []
        for message, fixed in _turns(prompt):
            before, after = marks[message.role]
            *told, content = _parts((message, fixed))
            said = content.text.removeprefix("\n").removeprefix(before)
            gap = "\n" if message.notes else ""
            pieces += [*told, Piece(f"{gap}{before}", layout=True), replace(content, text=said), Piece(after, layout=True)]
        if prompt.opening:
            pieces.append(Piece(f" {prompt.opening}"))
        return [piece for piece in pieces if piece.text or not (piece.layout or piece.fixed)]


class TemplateChat:
    """The layout of a chat template.

    :param source: Jinja2, as ``tokenizer.chat_template`` in the file's metadata holds it. It runs in Jinja2's sandbox.
    :param bos: text of the token that begins a document.
    :param eos: text of the token that ends one.
    :raises ModelUnreadable: not a Jinja2 template.
    """

    stop: tuple[str, ...] = ()

    def __init__(self, source: str, *, bos: str, eos: str) -> None:
        try:
            self._formatter = Jinja2ChatFormatter(template=source, eos_token=eos, bos_token=bos)
        except Exception as error:
            raise ModelUnreadable(f"the model's chat template cannot be read: {_line(error)}; use another file") from error

    def lay_out(self, prompt: Prompt) -> list[Piece]:
        """The prompt as the template has it.

        Some templates refuse or lose a system message: it then stands at the head of the first user message.

        :raises ModelError: the template cannot render such a conversation.
        """
        turns = _turns(prompt)
        try:
            pieces = self._render(turns)
        except ModelError:
            folded = _fold_system(turns)
            if folded == turns:
                raise
            pieces = self._render(folded)
        if prompt.opening:
            pieces.append(Piece(prompt.opening))
        return [piece for piece in pieces if piece.text or not (piece.layout or piece.fixed)]

    def _render(self, turns: Sequence[_Turn]) -> list[Piece]:
        messages: list[Any] = [
            {"role": message.role, "content": f"\ue000{index}\ue001"} for index, (message, _) in enumerate(turns)
        ]
        try:
            rendering = self._formatter(messages=messages).prompt
        except Exception as error:  # a template is a program: it can raise whatever it likes
            raise ModelError(f"the model's chat template cannot render this conversation: {_line(error)}") from error
        parts = _PLACEHOLDER.split(rendering)  # layout, index, layout, index, ..., layout
        missing = set(range(len(turns))) - {int(index) for index in parts[1::2]}
        if missing:
            raise ModelError(f"the model's chat template leaves out the {turns[min(missing)][0].role} message")
        pieces: list[Piece] = []
        for number, part in enumerate(parts):
            pieces += _parts(turns[int(part)]) if number % 2 else [Piece(part, layout=True)]
        return pieces


def _turns(prompt: Prompt) -> list[_Turn]:
    shared = prompt.shared
    if shared is None:
        roles = [message.role for message in prompt.messages]
        shared = next((index for index, role in enumerate(roles) if role != "system"), len(roles))
    return [(message, index < shared) for index, message in enumerate(prompt.messages)]


def _parts(turn: _Turn) -> list[Piece]:
    message, fixed = turn
    notes = (Piece(note.text, note=note.id) for note in message.notes)
    return [Piece(message.lead, fixed=True), *notes, Piece(message.content, fixed=fixed)]


def _fold_system(turns: Sequence[_Turn]) -> list[_Turn]:
    """The conversation with its system messages at the head of its first user message."""
    system = "\n\n".join(message.text for message, _ in turns if message.role == "system")
    others = [turn for turn in turns if turn[0].role != "system"]
    if not system or not others:
        return list(turns)
    first, fixed = others[0]
    return [(replace(first, lead=f"{system}\n\n{first.lead}"), fixed), *others[1:]]


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
