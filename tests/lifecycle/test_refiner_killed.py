"""`kill -9` at every single step of a refinement run."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bench_refiner import REPORTS, Bench, running

VICTIM = """
import os, signal, sys
from pathlib import Path
import trio
sys.path.insert(0, sys.argv[1])
from bench_refiner import Bench, running
from espeer.llm.fake import FakeModel, quote

steps, last = 0, int(sys.argv[3])

def step(*_):
    global steps
    steps += 1
    if steps == last:
        os.kill(os.getpid(), signal.SIGKILL)

def reply(prompt, sampling):
    step()
    return quote(prompt, sampling)

async def main():
    bench = Bench(Path(sys.argv[2]), FakeModel(reply), max_records=int(sys.argv[4]))
    bench.store._db.set_trace_callback(lambda sql: None if sql.startswith("SELECT") else step())
    async with running(bench):
        await bench.refiner.refine()
    bench.replica.save_index()
    step()

trio.run(main)
"""


def refine_until(step: int, folder: Path, *, max_records: int) -> int:
    """Refine in a process that kills itself before that step; return how it ended."""
    script = [sys.executable, "-c", VICTIM, str(Path(__file__).parent), str(folder), str(step), str(max_records)]
    return subprocess.run(script, check=False, timeout=60).returncode


@pytest.mark.parametrize("max_records", [100, 5])
async def test_every_experience_is_active_or_stood_for_by_an_active_one(tmp_path: Path, max_records: int) -> None:
    untouched = tmp_path / "untouched"
    untouched.mkdir()
    Bench(untouched).store.close()
    step, seen = 0, set()
    while True:
        step += 1
        folder = tmp_path / str(step)
        shutil.copytree(untouched, folder)
        ended = refine_until(step, folder, max_records=max_records)
        assert ended in (0, -signal.SIGKILL)
        bench = Bench(folder, max_records=max_records)
        assert bench.store.row("PRAGMA integrity_check", ()) == ("ok",)
        seen.add(check(bench))
        async with running(bench):  # whatever was done, the rest can be done
            await bench.refiner.refine()
        check(bench)
        assert len(bench.replica) == min(8, max_records)
        bench.store.close()
        shutil.rmtree(folder)
        if ended == 0:
            break
    assert step > 20
    assert len(seen) >= 3  # runs were cut off before, between and after the groups


def check(bench: Bench) -> int:
    """Check the view; return how many are active."""
    active = set(bench.replica.active("pumps"))
    known = bench.store.rows("SELECT lower(hex(record)), state, lower(hex(by)) FROM view", ())
    assert len(known) >= len(REPORTS)
    for record, state, by in known:
        held = bench.replica.show(record)
        assert state in ("active", "superseded", "evicted")
        assert (record in active) == (state == "active")
        if state == "superseded":
            assert by in active
        if state == "active":
            assert held.experience is not None
    return len(active)


def test_the_victim_dies_where_it_should(tmp_path: Path) -> None:
    assert refine_until(1, tmp_path, max_records=100) == -signal.SIGKILL
    assert refine_until(10**6, tmp_path, max_records=100) == 0
    assert os.listdir(tmp_path)  # noqa: PTH208
