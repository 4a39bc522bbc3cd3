from dataclasses import replace
from pathlib import Path

import pytest

from espeer.lifecycle.optimise import Measured, candidates, fastest, loss
from espeer.llm.gguf import Gguf
from espeer.llm.speed import Speed

RIGHT = (True, False) * 20
SURPRISE = tuple(2 + 0.01 * (place % 7) for place in range(300))
FIRST = Measured("as it is", Path("a"), Speed(0.4, 0.01, 0.1), RIGHT, SURPRISE)


def form(name: str, prompt: float, *, lost: int = 0, nats: float = 0.0, noise: float = 0.0) -> Measured:
    right = tuple(answer and place >= 2 * lost for place, answer in enumerate(RIGHT))
    surprise = tuple(value + nats + noise * (-1) ** place for place, value in enumerate(SURPRISE))
    return Measured(name, Path(name), Speed(prompt, 0.01, 0.1), right, surprise)


def test_what_is_lost_is_counted_in_pairs() -> None:
    found = loss(FIRST, form("b", 0.2, lost=3, nats=0.01))
    assert (found.lost, found.won) == (3, 0)
    assert found.nats == pytest.approx(0.01)
    assert found.error == pytest.approx(0, abs=1e-9)
    back = loss(form("b", 0.2, lost=3), FIRST)
    assert (back.lost, back.won) == (0, 3)


def test_the_fastest_whose_accuracy_holds() -> None:
    good, better = form("good", 0.3), form("better", 0.2)
    assert fastest([FIRST, good, better]) == better
    assert fastest([FIRST, good, form("x", 0.1, lost=2)]) == good
    assert fastest([FIRST, good, form("x", 0.1, lost=1)]).form == "x"
    assert fastest([FIRST, good, form("x", 0.1, nats=0.03)]) == good
    assert fastest([FIRST, good, form("x", 0.1, nats=0.015)]).form == "x"
    assert fastest([FIRST, good, form("x", 0.1, nats=0.015, noise=0.2)]) == good  # it may as well be worse


def test_the_file_stays_as_it_is_unless_enough_is_saved() -> None:
    assert fastest([FIRST]) == FIRST
    assert fastest([FIRST, form("x", 0.38)]) == FIRST  # 0.70 s for an ask of 0.72
    assert fastest([FIRST, form("x", 0.36)]).form == "x"


def test_forms_that_are_worth_a_try() -> None:
    head = Gguf(100, {"general.file_type": 7}, 1000, 100)
    assert candidates(head, memory=None, disk=10**6) == ["Q4_0", "F16"]
    assert candidates(replace(head, values={}), memory=10**6, disk=10**6) == ["Q8_0", "Q4_0", "F16"]
    assert candidates(head, memory=3999, disk=10**6) == ["Q4_0"]
    assert candidates(head, memory=None, disk=2569) == ["Q4_0"]  # not both
    assert candidates(head, memory=None, disk=500) == []
