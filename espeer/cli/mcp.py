"""`espeer mcp`."""

import logging
import signal
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from espeer.cli.options import ConfigFile
from espeer.folder import socket_path
from espeer.sources import choose


def mcp(*, data: Annotated[Path | None, Parameter(show_default=False)] = None, config: ConfigFile = None) -> None:
    """Serve MCP (Model Context Protocol) on standard input and output, for Claude Desktop, editors and other clients.

    Clients start this themselves; see docs/mcp.md. It talks to the node that runs on the data folder. While none does, its
    tools say so, and they work as soon as one is there.

    Example: espeer mcp --data ~/pumps

    :param data: the node's data folder; by default that of the settings.
    """
    import trio  # noqa: PLC0415 - all of this takes a second to import, and no other command needs it

    from espeer import log  # noqa: PLC0415
    from espeer.api.mcp import serve_stdio  # noqa: PLC0415
    from espeer.api.mcp_calls import OverSocket  # noqa: PLC0415

    log.configure(logging.WARNING)
    folder = data or choose(config).data
    if not socket_path(folder).exists():
        print(f"espeer: no node runs on {folder} yet; its tools work as soon as one does", file=sys.stderr)  # noqa: T201 - for the client's log
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the thread that waits for input could not be ended otherwise
    trio.run(serve_stdio, OverSocket(folder))
