"""`espeer mcp`."""

import logging
import signal
import sys
from pathlib import Path
from typing import Annotated

import trio
from cyclopts import Parameter

from espeer import log
from espeer.config import default_data
from espeer.folder import socket_path


def mcp(*, data: Annotated[Path | None, Parameter(show_default=False)] = None) -> None:
    """Serve MCP (Model Context Protocol) on standard input and output, for Claude Desktop, editors and other clients.

    Clients start this themselves; see docs/mcp.md. It talks to the node that runs on the data folder. While none does, its
    tools say so, and they work as soon as one is there.

    Example: espeer mcp --data ~/pumps

    :param data: the node's data folder (or $ESPEER_HOME).
    """
    from espeer.api.mcp import serve_stdio  # noqa: PLC0415 - the SDK takes a second to import, and no other command needs it
    from espeer.api.mcp_calls import OverSocket  # noqa: PLC0415

    log.configure(logging.WARNING)
    folder = data or default_data()
    if not socket_path(folder).exists():
        print(f"espeer: no node runs on {folder} yet; its tools work as soon as one does", file=sys.stderr)  # noqa: T201 - for the client's log
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the thread that waits for input could not be ended otherwise
    trio.run(serve_stdio, OverSocket(folder))
