import pytest

from espeer.errors import ModelError, ModelUnreadable
from espeer.llm.chat import Piece, PlainChat, TemplateChat
from espeer.llm.model import Message, Note, Prompt

TURNS = (
    Message("system", "Be brief."),
    Message("user", "One?"),
    Message("assistant", "Two."),
    Message("user", "Three?"),
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<turn>{{ m['role'] }}\n{{ m['content'] | trim }}</turn>{% endfor %}"
)


def text(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def test_a_base_model_gets_a_document() -> None:
    pieces = PlainChat().lay_out(Prompt(TURNS, "Well,"))
    assert text(pieces) == "Be brief.\n\nQuestion: One?\nAnswer: Two.\n\nQuestion: Three?\nAnswer: Well,"
    assert PlainChat.stop == ("\nQuestion:",)


def test_a_base_model_reads_notes_before_the_question() -> None:
    notes = (Note("a", "- So.\n"), Note("b", "- Thus.\n"))
    for content in ("\nWhy?", "\nQuestion: Why?"):
        asked = Prompt((TURNS[0], Message("user", content, lead="Notes:\n", notes=notes)))
        assert text(PlainChat().lay_out(asked)) == "Be brief.\n\nNotes:\n- So.\n- Thus.\n\nQuestion: Why?\nAnswer:"


def test_layout_and_contents_are_told_apart() -> None:
    chat = TemplateChat("{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}<assistant>", bos="", eos="")
    assert chat.lay_out(Prompt(TURNS[:2], "So")) == [
        Piece("<system>", layout=True),
        Piece("Be brief.", fixed=True),
        Piece("</><user>", layout=True),
        Piece("One?"),
        Piece("</><assistant>", layout=True),
        Piece("So"),
    ]


def test_notes_are_pieces_of_their_own_and_examples_are_fixed() -> None:
    chat = TemplateChat("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>", bos="", eos="")
    asked = Message("user", "Why?", lead="Notes:\n", notes=(Note("a1", "- So.\n"), Note("b2", "- Thus.\n")))
    pieces = chat.lay_out(Prompt((*TURNS[:3], asked), shared=3))
    assert [piece for piece in pieces if not piece.layout] == [
        Piece("Be brief.", fixed=True),
        Piece("One?", fixed=True),
        Piece("Two.", fixed=True),
        Piece("Notes:\n", fixed=True),
        Piece("- So.\n", note="a1"),
        Piece("- Thus.\n", note="b2"),
        Piece("Why?"),
    ]
    assert text(pieces).endswith(f"<user>{asked.text}<assistant>")


def test_contents_that_look_like_jinja_or_placeholders_stay_as_they_are() -> None:
    chat = TemplateChat("{% for m in messages %}[{{ m.content }}]{% endfor %}", bos="", eos="")
    contents = ("{{ 7 * 7 }}", "\ue0000\ue001", "{% raw %}")
    pieces = chat.lay_out(Prompt(tuple(Message("user", content) for content in contents)))
    assert tuple(piece.text for piece in pieces if not piece.layout) == contents


@pytest.mark.parametrize("template", [GEMMA, "{% for m in messages if m.role != 'system' %}[{{ m.content }}]{% endfor %}"])
def test_a_system_message_that_the_template_cannot_take_goes_to_the_user(template: str) -> None:
    pieces = TemplateChat(template, bos="<bos>", eos="").lay_out(Prompt(TURNS))
    assert [piece for piece in pieces if not piece.layout][:2] == [Piece("Be brief.\n\n", fixed=True), Piece("One?")]
    assert text(pieces).count("Be brief.") == 1


def test_templates_that_cannot_be_used() -> None:
    with pytest.raises(ModelUnreadable, match="cannot be read"):
        TemplateChat("{% if %}", bos="", eos="")
    with pytest.raises(ModelError, match="leaves out the user message"):
        TemplateChat("nothing", bos="", eos="").lay_out(Prompt(TURNS[1:2]))
    with pytest.raises(ModelError, match="cannot render this conversation: no"):
        TemplateChat("{{ raise_exception('no') }}", bos="", eos="").lay_out(Prompt(TURNS))


def test_a_template_is_kept_in_a_sandbox() -> None:
    chat = TemplateChat("{{ messages.__class__.__mro__ }}{{ messages[0].content }}", bos="", eos="")
    with pytest.raises(ModelError, match="unsafe"):
        chat.lay_out(Prompt(TURNS[1:2]))
