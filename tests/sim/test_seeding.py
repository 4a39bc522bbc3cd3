"""Data folders prepared before a node runs on them."""

import stat
from pathlib import Path

from espeer.folder import identity_path, index_path, store_path
from espeer.records import decode
from espeer.replica import Replica
from espeer.sim import seeding, stores
from espeer.sim.scenario import Seeded
from espeer.store import Store


def seed(folder: Path, now: int) -> list[bytes]:
    seeded = Seeded(records=30, nodes=("n1",), authors=3)
    return seeding.seed_folder(folder, seeded, types=("pumps", "valves"), seed=7, now_ms=now, progress=lambda _: None)


def test_a_seeded_folder_holds_good_records_and_an_index_and_so_does_its_copy(tmp_path: Path, now: int) -> None:
    ids = seed(tmp_path / "n1", now)
    seeding.copy_folder(tmp_path / "n1", tmp_path / "n2")
    assert not identity_path(tmp_path / "n2").exists()
    assert index_path(tmp_path / "n2").exists()
    assert stat.S_IMODE(store_path(tmp_path / "n2").stat().st_mode) == 0o600
    rows = stores.rows(tmp_path / "n2")
    assert stores.count(tmp_path / "n2") == 30
    assert {row.id for row in rows} == set(ids)
    assert max(row.created for row in rows) == now - 1000
    store = Store.open(store_path(tmp_path / "n2"))
    replica = Replica(store, types=("pumps", "valves"), clock=lambda: now, index_path=index_path(tmp_path / "n2"))
    assert len(replica) == 30
    kept = [data for data, _ in (store.data(id_) or (b"", "") for id_ in ids)]
    assert len({decode(data, now_ms=now).record.author for data in kept}) == 3
    store.close()


def test_the_same_seed_gives_the_same_records(tmp_path: Path, now: int) -> None:
    assert seed(tmp_path / "a", now) == seed(tmp_path / "b", now)
