"""What processes use: memory and processor time, from Linux's /proc; elsewhere nothing is measured."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PROC: Final = Path("/proc")

_UTIME, _STIME = 11, 12
"""Places in /proc/PID/stat behind the command's name, see proc(5)."""
_MB: Final = 1024 * 1024
_LOCAL, _REMOTE, _STATE, _INODE = 1, 2, 3, 9
"""Columns of /proc/net/tcp, see proc(5)."""
_LISTENING: Final = "0A"


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process used at a moment.

    :ivar at: seconds, by any clock that does not jump.
    :ivar rss: bytes of memory that are resident.
    :ivar cpu: seconds of processor time since its start.
    """

    at: float
    rss: int
    cpu: float


def sample(pid: int, at: float) -> Sample | None:
    """Look at a process; None if it has ended, or there is no /proc."""
    with suppress(OSError, ValueError, IndexError):
        stat = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        pages = int((PROC / str(pid) / "statm").read_text().split()[1])
        cpu = (int(stat[_UTIME]) + int(stat[_STIME])) / os.sysconf("SC_CLK_TCK")
        return Sample(at, pages * os.sysconf("SC_PAGE_SIZE"), cpu)
    return None


def usage(samples: Mapping[str, Sequence[Sample]]) -> dict[str, Any]:
    """Sum up what a fleet's processes used, by node: the worst node counts. Shares of a core, over the samples' time."""
    seen = [found for found in samples.values() if found]
    if not seen:
        return {}
    shares = [share for found in seen if (share := cpu_share(found)) is not None]
    return {
        "rss_peak_mb": round(max(one.rss for found in seen for one in found) / _MB, 1),
        "cpu_mean": round(max(shares), 3) if shares else None,
    }


def cpu_share(samples: Sequence[Sample], since: float = float("-inf"), until: float = float("inf")) -> float | None:
    """Return the share of a core used from ``since`` to ``until``, None with fewer than two samples."""
    within = [one for one in samples if since <= one.at <= until]
    if len(within) < 2 or within[-1].at <= within[0].at:  # noqa: PLR2004 - two make a span
        return None
    return (within[-1].cpu - within[0].cpu) / (within[-1].at - within[0].at)


def peak_mb(samples: Sequence[Sample], since: float, until: float) -> float | None:
    """Return the most memory seen from ``since`` to ``until``, in MiB."""
    most = max((one.rss for one in samples if since <= one.at <= until), default=None)
    return None if most is None else most / _MB


def owner(local: int, remote: int, pids: Mapping[int, str]) -> str | None:
    """Return which of the processes holds the TCP connection over 127.0.0.1 from port ``local`` to port ``remote``.

    :param pids: the processes' names by their ids.
    """
    for columns in _connections():
        if _port(columns[_LOCAL]) == local and _port(columns[_REMOTE]) == remote:
            return next((name for pid, name in pids.items() if columns[_INODE] in _inodes(pid)), None)
    return None


def listening(pid: int) -> int | None:
    """Return the lowest TCP port over IPv4 that a process listens on, None if it does not."""
    held = _inodes(pid)
    return min(
        (_port(one[_LOCAL]) for one in _connections() if one[_STATE] == _LISTENING and one[_INODE] in held), default=None
    )


def _connections() -> list[list[str]]:
    with suppress(OSError):
        return [line.split() for line in (PROC / "net" / "tcp").read_text().splitlines()[1:]]
    return []


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _inodes(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    found = set()
    with suppress(OSError):
        for file in (PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):  # it was closed meanwhile
                kind, _, inode = str(file.readlink()).partition(":")
                if kind == "socket":
                    found.add(inode.strip("[]"))
    return found
