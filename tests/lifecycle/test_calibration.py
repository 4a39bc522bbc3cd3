from pathlib import Path

import pytest
import trio

from espeer.lifecycle.calibration import CALIBRATION, Calibration, load, measure, save
from espeer.llm.engine import Engine
from espeer.llm.fake import FakeModel
from espeer.llm.model import Model


async def test_it_measures_both_ways(nursery: trio.Nursery) -> None:
    engine = Engine(FakeModel())
    await nursery.start(engine.run)
    measured = await measure(engine)
    assert 0.5 <= measured.text_accuracy < 1  # what a passage tells, the fake finds
    assert measured.letter_accuracy < 0.5
    assert measured.method == "text"


def test_the_better_way_wins_and_text_of_equals() -> None:
    assert Calibration(0.9, 0.8).method == "letter"
    assert Calibration(0.8, 0.8).method == "text"
    assert Calibration(0.85, 1.0).method == "text"
    assert Calibration(0.95, 1.0).method == "letter"  # both are within reach


def test_the_items_are_fair() -> None:
    assert len(CALIBRATION) == 20
    assert sum(bool(item.passage) for item in CALIBRATION) == 10
    assert [sum(item.answer == index for item in CALIBRATION) for index in range(4)] == [5, 5, 5, 5]
    for item in CALIBRATION:
        lengths = [len(choice.split()) for choice in item.choices]
        assert max(lengths) - min(lengths) <= 1


def test_it_is_remembered(tmp_path: Path) -> None:
    assert load("ab", tmp_path) is None
    save("ab", Calibration(0.25, 0.75), tmp_path)
    save("cd", Calibration(1.0, 0.0), tmp_path)
    assert load("ab", tmp_path) == Calibration(0.25, 0.75)
    assert [path.name for path in (tmp_path / "calibration").iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"letter_accuracy": 2.0, "text_accuracy": 0.5}', b"\xff"])
def test_a_damaged_file_counts_as_none(tmp_path: Path, damage: bytes) -> None:
    save("ab", Calibration(0.25, 0.75), tmp_path)
    (file,) = (tmp_path / "calibration").iterdir()
    file.write_bytes(damage)
    assert load("ab", tmp_path) is None


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    save("ab", Calibration(0.25, 0.75), tmp_path / "file")


@pytest.mark.model
async def test_the_default_model_is_better_by_text(real_model: Model, nursery: trio.Nursery) -> None:
    engine = Engine(real_model)
    await nursery.start(engine.run)
    measured = await measure(engine)
    assert measured.method == "text"
    assert measured.text_accuracy >= 0.8
