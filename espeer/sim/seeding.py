"""Data folders that hold records before a node runs on them."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from espeer import records
from espeer.folder import index_path, private_folder, store_path
from espeer.p2p.identity import SEED_SIZE, Identity
from espeer.records import Experience
from espeer.replica import Replica
from espeer.sim.scenario import Seeded
from espeer.sim.texts import report
from espeer.store import Store

_BATCH: Final = 2000
_SPACING_MS: Final = 1000
"""One record a second, the last one when the fleet is started."""


def seed_folder(
    folder: Path, seeded: Seeded, *, types: tuple[str, ...], seed: int, now_ms: int, progress: Callable[[int], None]
) -> list[bytes]:
    """Make records by invented authors and put them through the replica's door into ``folder``; return their ids.

    :param progress: called now and then with how many are there.
    """
    rng = random.Random(f"authors {seed}")  # noqa: S311 - keys of nobody
    authors = [Identity(rng.randbytes(SEED_SIZE)) for _ in range(seeded.authors)]
    private_folder(folder)
    store = Store.open(store_path(folder))
    try:
        replica = Replica(store, types=types, clock=lambda: now_ms, index_path=index_path(folder))
        made = []
        for start in range(0, seeded.records, _BATCH):
            batch = []
            for number in range(start, min(start + _BATCH, seeded.records)):
                author, told = authors[number % len(authors)], report(number, seed)
                experience = Experience(
                    type=types[number % len(types)],
                    text=f"{told.text} {told.feedback}",
                    created=now_ms - (seeded.records - number) * _SPACING_MS,
                    author=author.public,
                    model="fake",
                    method="extractive",
                )
                batch.append(records.sign(experience, author.sign))
            replica.add(batch, via="sync")
            made += [signed.id for signed in batch]
            progress(len(made))
        replica.save_index()
    finally:
        store.close()  # the last connection's close leaves one file, without a log beside it
    return made


def copy_folder(source: Path, target: Path) -> None:
    """Give ``target`` the records and the index of ``source``; its identity is its own."""
    private_folder(target)
    for path in (store_path, index_path):
        shutil.copy(path(source), path(target))
