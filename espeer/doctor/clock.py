"""The clock.

Records carry their author's time, and one that is more than ten minutes ahead is refused: a clock that is wrong keeps what this
node learns from the others, or what they learn from it.
"""

import sqlite3
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from espeer.doctor.data import opened
from espeer.doctor.finding import Finding, Situation
from espeer.errors import RecordError
from espeer.folder import store_path
from espeer.records import MAX_CLOCK_SKEW_MS, load

_RECENT: Final = 50
_FEW: Final = 3
_APART_MS: Final = 60_000
_SET: Final = "set the clock: timedatectl set-ntp true, or another way that this machine has"


def clock(given: Situation) -> Iterator[Finding]:
    """Whether the clock agrees with what is in the store."""
    path = store_path(given.config.data)
    if not path.exists():
        return
    try:
        with closing(opened(path)) as db:
            latest = db.execute("SELECT max(received) FROM records").fetchone()[0] or 0
            query = "SELECT received, data FROM records WHERE via = 'gossip' ORDER BY seq DESC LIMIT ?"
            rows = db.execute(query, (_RECENT,)).fetchall()
    except sqlite3.Error:
        return  # the check of the store tells
    if latest > given.now_ms + _APART_MS:
        said = f"the clock was {(latest - given.now_ms) / 60_000:,.0f} minutes further when the latest record came"
        yield Finding("clock", "fail" if latest > given.now_ms + MAX_CLOCK_SKEW_MS else "warn", said, _SET)
        return
    late = _lateness(rows)
    if late is not None and abs(late) > _APART_MS:
        which = "behind" if late < 0 else "ahead"
        said = f"it is some {abs(late) / 60_000:,.0f} minutes {which} of the clocks of peers"
        yield Finding("clock", "warn", said, _SET)
    else:
        yield Finding("clock", "ok", "agrees with the records in the store")


def synchronised(_: Situation) -> Iterator[Finding]:
    """Whether the system keeps the clock right, where there is systemd to ask."""
    command = ["timedatectl", "show", "--property=NTPSynchronized", "--value"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=1, check=True)  # noqa: S603 - of the system
    except (OSError, subprocess.SubprocessError):
        return
    if done.stdout.strip() == "no":
        yield Finding("clock service", "warn", "the system does not keep the clock right", _SET)
    else:
        yield Finding("clock service", "ok", "the system keeps the clock right")


def _lateness(rows: list[tuple[int, bytes]]) -> float | None:
    """How long after they were made records came by gossip, which takes seconds: the median, in milliseconds."""
    found = []
    for received, data in rows:
        try:
            found.append(received - load(data).record.created)
        except RecordError:  # its text was deleted for want of room
            continue
    return statistics.median(found) if len(found) >= _FEW else None
