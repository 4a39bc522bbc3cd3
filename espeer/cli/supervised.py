"""Telling a service manager how the node is doing: sd_notify(3), datagrams to a socket. Without one nothing is told."""

import os
import socket
from typing import Final

import trio

from espeer.log import get_logger

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
ALIVE: Final = "WATCHDOG=1"

log = get_logger(__name__)


def tell(state: str) -> None:
    """Tell the manager something, if there is one that listens: ``$NOTIFY_SOCKET``."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            manager.setblocking(False)
            manager.sendto(state.encode(), address)
    except OSError as error:
        log.warning("cannot tell the service manager", state=state, reason=str(error))


async def stay_alive() -> None:
    """Tell it twice in the time that it allows that the event loop still turns; return at once if it does not ask for that."""
    microseconds, whose = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or whose not in ("", str(os.getpid())):
        return
    while True:
        tell(ALIVE)
        await trio.sleep(int(microseconds) / 2_000_000)
