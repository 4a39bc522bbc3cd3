"""What prompts say: to the byte, for answers and experiments depend on it."""

from espeer.lifecycle import prompts
from espeer.lifecycle.calibration import CALIBRATION
from espeer.llm.model import Message

NOTES = (prompts.note("a1", "Use port 2."), prompts.note("b2", "Mind the gap. It is 4 mm."))


def test_a_question_with_notes() -> None:
    prompt = prompts.ask("Which port?", NOTES)
    assert [turn.text for turn in prompt.messages] == [
        "You answer questions briefly, from the notes. Copy codes, numbers and names exactly.",
        "Notes:\n- Use port 2.\n- Mind the gap. It is 4 mm.\n\nWhich port?",
    ]
    assert prompt.messages[1] == Message("user", "\nWhich port?", lead="Notes:\n", notes=NOTES)
    assert prompt.opening == ""


def test_a_question_without_notes() -> None:
    assert prompts.ask("Which port?", ()).messages == (
        Message("system", "You answer questions briefly and truthfully."),
        Message("user", "Which port?"),
    )


def test_a_choice_with_notes_by_letter() -> None:
    prompt, continuations = prompts.choose("Which port?", ["one", "two"], NOTES, "letter")
    assert [turn.text for turn in prompt.messages] == [
        "Answer the question with the letter of the right choice. Use the notes only where they are about the same matter.",
        "Notes:\n- Use port 2.\n- Mind the gap. It is 4 mm.\n\nQuestion: Which port?\nA. one\nB. two",
    ]
    assert (prompt.opening, continuations) == ("Answer:", (" A", " B"))


def test_a_choice_without_notes_by_text() -> None:
    prompt, continuations = prompts.choose("Which port?", ["one", "two"], (), "text")
    assert prompt.messages == (
        Message("system", "Answer the question in a few words."),
        Message("user", "Question: Which port?"),
    )
    assert continuations == (" one", " two")


def test_the_question_for_the_confidence_goes_on_with_the_same_turns() -> None:
    asked = prompts.ask("Which port?", NOTES)
    prompt = prompts.confidence(asked, "Port 2.")
    assert prompt.messages[: len(asked.messages)] == asked.messages
    assert [(turn.role, turn.text) for turn in prompt.messages[2:]] == [
        ("assistant", "Port 2."),
        ("user", "Is your answer right? Say Yes or No."),
    ]


def test_what_comes_before_the_notes_is_the_same_for_every_question() -> None:
    one, other = prompts.ask("Which port?", NOTES), prompts.ask("Why?", NOTES[:1])
    assert one.messages[:-1] == other.messages[:-1]
    assert one.messages[-1].lead == other.messages[-1].lead


def test_passages_of_the_calibration_have_ids_of_their_own() -> None:
    notes = [note for item in CALIBRATION for note in item.notes]
    assert len({note.id for note in notes}) == len({note.text for note in notes}) == sum(bool(i.passage) for i in CALIBRATION)
    assert notes[0].text == f"- {next(item.passage for item in CALIBRATION if item.passage)}\n"
