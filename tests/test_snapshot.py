"""The index on disk: the same after it was written and read, and never a wrong one."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espeer import snapshot
from espeer.bm25 import BM25Index

words = st.sampled_from(["pump", "pumps", "valve", "seal", "E42", "leak", "Ölfilter", "水泵"])
texts = st.lists(words, max_size=8).map(" ".join)
keys = st.sampled_from(["a", "b", "c", "d\0", "é", "f"])
steps = st.lists(st.tuples(keys, st.none() | texts, st.sampled_from(["", "x", "y"])), max_size=25)


def change(index: BM25Index, sequence: list[tuple[str, str | None, str]]) -> None:
    for key, text, label in sequence:
        if text is None:
            index.remove(key)
        else:
            index.add(key, text, label=label)


@given(steps, steps, texts)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_index_goes_on_after_loading_as_if_it_had_never_been_away(
    tmp_path: Path, before: list[tuple[str, str | None, str]], after: list[tuple[str, str | None, str]], query: str
) -> None:
    index, loaded = BM25Index(), BM25Index()
    change(index, before)
    snapshot.save(tmp_path / "index", index, settings="s")
    assert snapshot.load(tmp_path / "index", loaded, settings="s")
    for _ in range(2):
        assert len(loaded) == len(index)
        assert loaded.scores(query) == pytest.approx(index.scores(query))
        assert sorted(loaded.keys(label="x")) == sorted(index.keys(label="x"))
        for key in index.keys():  # noqa: SIM118 - an index is no mapping
            assert dict(loaded.neighbours(key, 0.2)) == pytest.approx(dict(index.neighbours(key, 0.2)))
        change(index, after)
        change(loaded, after)


def test_there_is_none_at_first(tmp_path: Path) -> None:
    assert not snapshot.load(tmp_path / "index", BM25Index(), settings="s")


def test_one_with_other_settings_is_thrown_away(tmp_path: Path) -> None:
    snapshot.save(tmp_path / "index", BM25Index(), settings="s")
    assert not snapshot.load(tmp_path / "index", BM25Index(), settings="other")
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("damage", [*range(0, 400, 13), "short", "empty"])
def test_a_damaged_one_is_thrown_away(tmp_path: Path, damage: int | str) -> None:
    index = BM25Index()
    change(index, [("a", "pump E42", ""), ("b", "valve", "x")])
    path = tmp_path / "index"
    snapshot.save(path, index, settings="s")
    data = bytearray(path.read_bytes())
    if damage == "short":
        del data[-1]
    elif damage == "empty":
        data.clear()
    else:
        data[int(damage) % len(data)] ^= 1
    path.write_bytes(data)
    fresh = BM25Index()
    assert not snapshot.load(path, fresh, settings="s")
    assert len(fresh) == 0
    assert not path.exists()


def test_it_is_its_users_alone(tmp_path: Path) -> None:
    snapshot.save(tmp_path / "index", BM25Index(), settings="s")
    assert (tmp_path / "index").stat().st_mode & 0o777 == 0o600
