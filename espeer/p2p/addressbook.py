"""Keeps the peers that we met in a file, from one start to the next."""

from pathlib import Path
from typing import Final

import trio

from espeer import ownfile
from espeer.log import get_logger
from espeer.p2p.acquaintances import MAX_FILE, Acquaintances
from espeer.tasks import in_thread

SAVE_SECONDS: Final = 2.0
"""How often it is looked whether there is something new to keep."""

log = get_logger(__name__)


def load(path: Path) -> Acquaintances:
    """Read the file. One that is missing or damaged is as good as an empty one: the network makes it again."""
    try:
        with path.open("rb") as file:
            return Acquaintances.decode(file.read(MAX_FILE + 1))
    except FileNotFoundError:
        return Acquaintances()
    except (OSError, ValueError) as error:
        log.warning("cannot read the peers met before; going on without", path=str(path), reason=str(error))
        return Acquaintances()


async def keep(path: Path, known: Acquaintances) -> None:
    """Write the file whenever there is something new, and at the end, until cancelled."""
    failed = False
    try:
        while True:
            await trio.sleep(SAVE_SECONDS)
            reason = await _save(path, known)
            if reason and not failed:
                log.warning("cannot keep the peers met; trying on", path=str(path), reason=reason)
            failed = reason is not None
    finally:
        with trio.CancelScope(shield=True):
            await _save(path, known)


async def _save(path: Path, known: Acquaintances) -> str | None:
    """Write what is new; the return value is why that failed, if it did."""
    if not known.changed:
        return None
    known.changed = False
    try:
        data = known.encode()
        # nothing is lost if it is the old one after a power cut, so the disk is not waited for
        await in_thread(lambda: ownfile.replace(path, data, durable=False))
    except OSError as error:
        known.changed = True
        return error.strerror or str(error)
    return None
