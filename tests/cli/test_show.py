"""What is shown on a terminal: texts as they are, and nothing that the terminal obeys."""

import pytest

from espeer.cli import ask, show, why

ANSWER = {
    "id": 7,
    "created": 0,
    "question": "?",
    "answer": "a\x1b[31mb",
    "feedback": "",
    "good": None,
    "experiences": [],
    "learnt": None,
}


def test_a_text_is_shown_as_it_was_signed(capsys: pytest.CaptureFixture[str]) -> None:
    text = "[red]P7[/red] :warning: [link=http://evil.example]here[/link]"
    show.print_experiences([{"id": "0" * 64, "type": "pumps", "author": "x" * 52, "created": 0, "text": text}])
    assert text in capsys.readouterr().out


def test_an_answer_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ask._print_piece("a\x1b[2Jb\x07")
    assert capsys.readouterr().out == "a\ufffd[2Jb\ufffd"
    monkeypatch.setattr(why, "request", lambda *_: ANSWER)
    why.why("7")
    assert "a\ufffd[31mb" in capsys.readouterr().out
