"""How many threads a model may have here: cores that this process may use, as far as the system tells."""

import os
import platform
from math import floor
from pathlib import Path


def usable_cores(root: Path = Path("/")) -> int:
    """Cores, at least one: those this process is bound to, two threads of one core counted once, at most its quota of CPU time.

    llama.cpp's threads wait for each other: one more than there are cores makes all of them slower, and so does a second on
    the same core, where both want the same vector units.

    :param root: where ``/proc`` and ``/sys`` are.
    """
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = {_siblings(root, cpu) or str(cpu) for cpu in allowed}
    quota = cpu_quota(root)
    return max(1, len(cores) if quota is None else min(len(cores), floor(quota)))


def processor(root: Path = Path("/")) -> str:
    """The processor's name, as far as the system tells."""
    for line in _read(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Seconds of CPU time a second that the control groups of this process leave it; None if there is no limit.

    Version 2: https://docs.kernel.org/admin-guide/cgroup-v2.html (``cpu.max``), for the group and all above it. Version 1 only
    where containers see it.
    """
    quotas = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, group = line.partition("::")
        if number != "0":
            continue
        parts = [part for part in group.split("/") if part not in ("", "..")]
        for depth in range(len(parts) + 1):
            folder = root.joinpath("sys/fs/cgroup", *parts[:depth])
            quotas.append(_quota(*_read(folder / "cpu.max").split()))
    first = root / "sys/fs/cgroup/cpu"
    quotas.append(_quota(_read(first / "cpu.cfs_quota_us"), _read(first / "cpu.cfs_period_us")))
    return min((quota for quota in quotas if quota is not None), default=None)


def memory() -> int | None:
    """Bytes of memory that the machine has; None where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _quota(*limits: str) -> float | None:
    match [limit.strip() for limit in limits]:
        case [most, period] if most.isdecimal() and period.isdecimal() and int(period) > 0:
            return int(most) / int(period)
        case _:  # "max", -1, or no such file
            return None


def _siblings(root: Path, cpu: int) -> str:
    return _read(root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").strip()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
