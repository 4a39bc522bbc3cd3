import os
import subprocess
import sys
from pathlib import Path

import pytest

from espeer.llm.cores import cpu_quota, processor, usable_cores


def lay_out(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture(autouse=True)
def four_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)


def test_what_the_process_is_bound_to(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == 4


@pytest.mark.parametrize(
    ("lists", "cores"), [(["0,2", "1,3", "0,2", "1,3"], 2), (["0", "1", "2", "3"], 4), (["0-1", "0-1"], 3)]
)
def test_two_threads_of_a_core_are_one(tmp_path: Path, lists: list[str], cores: int) -> None:
    for cpu, siblings in enumerate(lists):
        lay_out(tmp_path, {f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": f"{siblings}\n"})
    assert usable_cores(tmp_path) == cores


@pytest.mark.parametrize(
    ("files", "quota", "cores"),
    [
        ({"cpu.max": "max 100000"}, None, 4),
        ({"cpu.max": "200000 100000"}, 2.0, 2),
        ({"cpu.max": "50000 100000"}, 0.5, 1),
        ({"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3.0, 3),
        ({"a/cpu.max": "150000 100000", "a/b/cpu.max": "350000 100000"}, 1.5, 1),
        ({"cpu.max": "nonsense"}, None, 4),
        ({"cpu.max": "100 0"}, None, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None, 4),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3.0, 3),
    ],
)
def test_a_quota_of_cpu_time(tmp_path: Path, files: dict[str, str], quota: float | None, cores: int) -> None:
    lay_out(tmp_path, {"proc/self/cgroup": "1:name=x:/elsewhere\n0::/a/b\n"})
    lay_out(tmp_path, {f"sys/fs/cgroup/{name}": text for name, text in files.items()})
    assert cpu_quota(tmp_path) == quota
    assert usable_cores(tmp_path) == cores


def test_how_threads_wait_is_set_but_not_against_the_environment() -> None:
    code = "import espeer.llm, os; print(*(os.environ[k] for k in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME')))"
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    for environment, printed in ((bare, "passive 3000 1"), ({**bare, "GOMP_SPINCOUNT": "7"}, "passive 7 1")):
        command = [sys.executable, "-c", code]
        assert subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip() == printed


def test_the_processor_has_a_name(tmp_path: Path) -> None:
    lay_out(tmp_path, {"proc/cpuinfo": "processor\t: 0\nmodel name\t: Kestrel 3\nmodel\t: 7\n"})
    assert processor(tmp_path) == "Kestrel 3"
    assert processor(tmp_path / "elsewhere")
