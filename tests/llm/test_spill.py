"""KV states on disk: the same after they were written and read, and never a wrong one."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espeer import ownfile
from espeer.llm.spill import Spill
from espeer.llm.states import StateKey, States

LIMIT = 10_000
KEY = StateKey("a model and its build", bytes(range(32)), "note", 1)

texts = st.sampled_from(["", "a", "ab", "b", "é", "\0"])
keys = st.builds(StateKey, texts, st.sampled_from([bytes(32), bytes(range(32))]), texts, st.integers(0, 3))
on_disk = settings(max_examples=60, deadline=None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "states"


def only(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def other(number: int) -> StateKey:
    return StateKey("a model and its build", bytes(32), "note", number)


def overhead(folder: Path) -> int:
    """How much larger a file is than its state."""
    Spill(folder / "one", LIMIT).put(other(0), b"")
    return only(folder / "one").stat().st_size


@given(kept=st.dictionaries(keys, st.binary(max_size=50), max_size=5))
@on_disk
def test_states_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, kept: dict[StateKey, bytes]) -> None:
    folder = tmp_path_factory.mktemp("spill", numbered=True) / "states"
    spill = Spill(folder, LIMIT)
    for key, value in kept.items():
        assert spill.put(key, value)
    for one in (spill, Spill(folder, LIMIT)):
        assert one.statistics()["entries"] == len(kept) == len(list(folder.iterdir()))
        assert all(key in one for key in kept)
        assert {key: one.get(key) for key in kept} == kept


def test_an_unknown_state_is_not_there(folder: Path) -> None:
    spill = Spill(folder, LIMIT)
    assert KEY not in spill
    assert spill.get(KEY) is None


def test_only_the_user_can_read_them(folder: Path) -> None:
    Spill(folder, LIMIT).put(KEY, b"state")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(only(folder).stat().st_mode) == 0o600


@given(data=st.data())
@on_disk
def test_damage_of_any_kind_is_found_out_and_the_file_removed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("spill", numbered=True) / "states"
    running = Spill(folder, LIMIT)
    running.put(KEY, b"the state")
    sound = only(folder).read_bytes()
    flips = st.tuples(st.integers(0, len(sound) - 1), st.integers(1, 255)).map(
        lambda flip: sound[: flip[0]] + bytes([sound[flip[0]] ^ flip[1]]) + sound[flip[0] + 1 :]
    )
    cuts = st.integers(0, len(sound) - 1).map(lambda length: sound[:length])
    additions = st.binary(min_size=1, max_size=50).map(lambda more: sound + more)
    only(folder).write_bytes(data.draw(flips | cuts | additions | st.binary().filter(lambda bytes_: bytes_ != sound)))
    spill = data.draw(
        st.sampled_from([running, Spill(folder, LIMIT)])
    )  # damaged while it was running, or before it was started
    assert spill.get(KEY) is None
    assert spill.statistics() == {"entries": 0, "bytes": 0, "damaged": 1}
    assert not list(folder.iterdir())
    assert KEY not in spill
    assert spill.put(KEY, b"the state")  # and it goes on
    assert spill.get(KEY) == b"the state"


def test_every_single_byte_counts(folder: Path) -> None:
    spill = Spill(folder, LIMIT)
    spill.put(KEY, b"the state")
    sound, path = only(folder).read_bytes(), only(folder)
    for index in range(len(sound)):
        spill.put(KEY, b"the state")
        path.write_bytes(sound[:index] + bytes([sound[index] ^ 1]) + sound[index + 1 :])
        assert spill.get(KEY) is None
        assert not path.exists()


def test_the_state_of_another_key_is_not_taken_for_this_one(folder: Path) -> None:
    spill = Spill(folder, LIMIT)
    spill.put(KEY, b"the state")
    path = only(folder)
    path.unlink()
    spill.put(StateKey("a model and its_build", KEY.prefix, KEY.note, KEY.slot), b"the state")
    only(folder).rename(path)
    assert spill.get(KEY) is None
    assert not path.exists()


def test_a_file_is_not_read_that_is_larger_than_all_may_be(folder: Path) -> None:
    Spill(folder, LIMIT).put(KEY, b"state")
    with only(folder).open("r+b") as file:
        file.truncate(1 << 40)
    spill = Spill(folder, LIMIT)
    assert KEY not in spill
    assert not list(folder.iterdir())


def test_a_file_that_grows_is_not_read(folder: Path) -> None:
    spill = Spill(folder, LIMIT)
    spill.put(KEY, b"state")
    with only(folder).open("r+b") as file:
        file.truncate(1 << 40)
    assert spill.get(KEY) is None
    assert not list(folder.iterdir())


def test_the_bound_holds_and_what_was_not_used_for_longest_goes_first(folder: Path, tmp_path: Path) -> None:
    spill = Spill(folder, 3 * (overhead(tmp_path) + 10))
    for number in range(3):
        assert spill.put(other(number), bytes(10))
    assert spill.get(other(0)) == bytes(10)
    assert other(1) in spill  # which does not count as used
    assert spill.put(other(3), bytes(10))
    assert [number for number in range(4) if other(number) in spill] == [0, 2, 3]
    assert sum(path.stat().st_size for path in folder.iterdir()) == spill.statistics()["bytes"]


def test_a_state_over_the_bound_costs_no_other_its_place(folder: Path) -> None:
    spill = Spill(folder, LIMIT)
    assert spill.put(KEY, b"state")
    assert not spill.put(other(1), bytes(LIMIT))
    assert spill.get(KEY) == b"state"


def test_the_order_of_use_outlasts_a_restart(folder: Path, tmp_path: Path) -> None:
    size = overhead(tmp_path) + 10
    spill = Spill(folder, 3 * size)
    made = {}
    for number in range(3):
        spill.put(other(number), bytes(10))
        (made[number],) = set(folder.iterdir()) - set(made.values())
        os.utime(made[number], (number, number))  # two may be written in one tick of the clock
    assert spill.get(other(0)) == bytes(10)
    smaller = Spill(folder, 2 * size)
    assert [number for number in range(3) if other(number) in smaller] == [0, 2]
    assert set(folder.iterdir()) == {made[0], made[2]}


def test_a_state_of_another_model_stays_until_it_is_the_oldest(folder: Path, tmp_path: Path) -> None:
    foreign = StateKey("another model, same length"[: len(KEY.model)], KEY.prefix, KEY.note, KEY.slot)
    size = overhead(tmp_path) + 10
    Spill(folder, 2 * size).put(foreign, bytes(10))
    os.utime(only(folder), (1, 1))
    spill = Spill(folder, 2 * size)
    spill.put(other(1), bytes(10))
    assert spill.get(foreign) == bytes(10)  # the user went back to it
    spill.put(other(2), bytes(10))
    assert foreign in spill
    spill.put(other(3), bytes(10))
    assert foreign not in spill


def test_what_a_killed_process_left_unfinished_is_removed_and_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda part, path: written.append(part) or replace(part, path))
    Spill(folder, LIMIT).put(KEY, b"state")
    (part,) = written
    part.write_bytes(b"espeer st")
    (folder / "notes.txt").write_text("mine")
    (folder / f"{'0' * 64}.state").mkdir()
    assert len(list(folder.iterdir())) == 4
    assert Spill(folder, LIMIT).get(KEY) == b"state"
    assert len(list(folder.iterdir())) == 3
    assert (folder / "notes.txt").exists()


def test_states_of_what_is_gone_are_removed(folder: Path) -> None:
    def of(note: str) -> StateKey:
        return StateKey("a model and its build", bytes(32), note, 0)

    keys = [of(note) for note in ("", "kept", "kept:20", "gone", "gone:20", "kep")]
    spill = Spill(folder, LIMIT)
    for key in keys:
        assert spill.put(key, b"state")
    (folder / f"{'0' * 64}.state").write_bytes(b"whose?")
    spill = Spill(folder, LIMIT)
    spill.keep_only(["kept", "new"])
    for one in (spill, Spill(folder, LIMIT)):
        assert [key for key in keys if key in one] == keys[:3]
    assert len(list(folder.iterdir())) == 3


def test_states_that_are_to_be_forgotten_are_removed(folder: Path) -> None:
    keys = [StateKey("a model", bytes(32), name, 1) for name in ("", "kept", "go", "gone", "gone:40")]
    spill = Spill(folder, LIMIT)
    for key in keys:
        spill.put(key, b"state")
    spill.forget(["gone", "never there"])
    for one in (spill, Spill(folder, LIMIT)):
        assert [key for key in keys if key in one] == keys[:3]
    assert len(list(folder.iterdir())) == 3


def test_no_room_empties_the_folder(folder: Path) -> None:
    Spill(folder, LIMIT).put(KEY, b"state")
    assert not Spill(folder, 0).put(KEY, b"state")
    assert not list(folder.iterdir())


def test_a_file_that_somebody_removed_is_forgotten(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    spill = Spill(folder, LIMIT)
    spill.put(KEY, b"state")
    only(folder).unlink()
    assert spill.get(KEY) is None
    assert spill.statistics() == {"entries": 0, "bytes": 0, "damaged": 0}
    assert spill.put(KEY, b"state")
    assert not caplog.records


def is_off(spill: Spill, caplog: pytest.LogCaptureFixture) -> bool:
    assert not spill.put(other(9), b"state")
    assert other(9) not in spill
    assert KEY not in spill
    assert spill.get(KEY) is None
    return [record.levelname for record in caplog.records] == ["WARNING"]


def full(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_turns_it_off(folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    spill = Spill(folder, LIMIT)
    spill.put(KEY, b"state")
    with monkeypatch.context() as patch:
        patch.setattr(ownfile.os, "fdopen", full)  # type: ignore[attr-defined]
        assert not spill.put(other(1), b"state")
    assert is_off(spill, caplog)
    assert len(list(folder.iterdir())) == 1  # no half of a file
    assert Spill(folder, LIMIT).get(KEY) == b"state"


def test_a_folder_that_goes_away_turns_it_off(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    spill = Spill(folder, LIMIT)
    folder.rmdir()
    assert not spill.put(KEY, b"state")
    assert is_off(spill, caplog)


def test_what_can_be_listed_but_not_read_turns_it_off(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spill = Spill(folder, LIMIT)
    spill.put(KEY, b"state")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        assert spill.get(KEY) is None
    assert is_off(spill, caplog)


def open_to_others(folder: Path) -> None:
    folder.mkdir(mode=0o755)


def a_file(folder: Path) -> None:
    folder.touch(0o600)


def below_a_file(folder: Path) -> None:
    folder.parent.rmdir()
    folder.parent.touch()


@pytest.mark.parametrize("spoil", [open_to_others, a_file, below_a_file])
def test_a_folder_that_cannot_be_used_turns_it_off(
    folder: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(folder)
    assert is_off(Spill(folder, LIMIT), caplog)


def test_states_live_on_without_it(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    states = States(10, Spill(folder, LIMIT))
    states.put(other(0), bytes(6))
    folder.rmdir()
    states.put(other(1), bytes(6))
    assert states.get(other(1)) == bytes(6)
    assert states.get(other(0)) is None
    assert states.statistics()["spilled"] == 0
    assert len(caplog.records) == 1


def test_states_are_there_after_a_restart(folder: Path) -> None:
    states = States(10, Spill(folder, LIMIT))
    states.put(other(0), b"zeroth")
    states.put(other(1), b"first")
    assert states.flush() == 1
    states = States(10, Spill(folder, LIMIT))
    assert (states.get(other(0)), states.get(other(1))) == (b"zeroth", b"first")
