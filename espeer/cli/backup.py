"""`espeer backup` and `espeer restore`."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from espeer.cli.options import DEFAULT_TARGET, Target
from espeer.cli.show import console, print_json, when

if TYPE_CHECKING:
    from espeer.backup import Backup


def backup(to: Path, /, *, target: Target = DEFAULT_TARGET) -> None:
    """Copy the node's data to one file, while the node goes on or when it is stopped.

    The file holds the node's private key, and that of a private network: keep it as you keep those.

    Example: espeer backup /var/backups

    :param to: the file, which must not be there yet; or a folder, in which it gets a name of its own.
    """
    from espeer.backup import back_up  # noqa: PLC0415 - no other command needs it

    made = back_up(target.data, to, clock=lambda: time.time_ns() // 1_000_000)
    if target.json:
        print_json(_shown(made))
    else:
        console.print(f"{made.file}: {made.records:,} records, {made.bytes:,} bytes, of node {made.peer_id}")


def restore(file: Path, /, *, target: Target = DEFAULT_TARGET) -> None:
    """Put a backup into a new data folder, which --data names. The next `espeer node` on it is the node of the backup.

    Example: espeer restore /var/backups/espeer-7tYcqGhN-20260102T030405Z.tar --data ~/pumps-2

    :param file: what `espeer backup` made.
    """
    from espeer.backup import restore as put_back  # noqa: PLC0415 - as above

    made = put_back(file, target.data)
    if target.json:
        print_json(_shown(made))
        return
    console.print(f"restored node {made.peer_id} of {when(made.created)} to {target.data}: {made.records:,} records")
    console.print(
        "Never run two nodes with one identity: others cannot tell them apart, and both lose connections. "
        "Stop the node that the backup is of for good before you start this one."
    )


def _shown(made: "Backup") -> dict[str, object]:
    return asdict(made) | {"file": str(made.file)}
