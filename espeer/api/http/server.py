"""The HTTP server: a listening socket, and what answers on it.

Hypercorn (0.18), whose trio worker stood here, cannot be stopped while a client does not read what it is sent, and takes
connections without end.
"""

import importlib.metadata
import socket
from collections.abc import Mapping
from functools import partial
from ipaddress import IPv4Address
from typing import Any, Final

import trio

from espeer.api.http import mcp
from espeer.api.http.app import make_app
from espeer.api.http.connection import Connection
from espeer.api.http.guard import App, Guard
from espeer.api.http.served import Served
from espeer.api.http.settings import HttpSettings
from espeer.errors import AddressInUse
from espeer.log import get_logger

MAX_CONNECTIONS: Final = 128
"""Twice as many as there may be requests under way: the rest waits for one, or reads its head or its body."""

_FURTHER_PORTS: Final = 20
_BACKLOG: Final = 128

log = get_logger(__name__)


async def serve(node: Served, settings: HttpSettings, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
    """Answer HTTP until cancelled; started with the URL once it listens.

    :raises AddressInUse: cannot listen there.
    """
    listening = trio.SocketListener(trio.socket.from_stdlib_socket(_listen(settings)))
    async with listening:
        app = make_app(node, version=importlib.metadata.version("espeer"))
        async with app.router.lifespan_context(app) as state, trio.open_nursery() as nursery:
            nursery.start_soon(app.state.feed.run)
            nursery.start_soon(app.state.metrics.run)
            # a client of MCP may leave an answer as soon as it has read it, and the session that it opened goes on
            guard = Guard(app, settings, hearing={mcp.PATH})
            front = Front(app.state.metrics.http.around(guard), state or {})
            await nursery.start(partial(trio.serve_listeners, front.answer, [listening]))
            host, port = listening.socket.getsockname()[:2]
            task_status.started(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")


class Front:
    """Answers connections, up to a bound; beyond it, the one gives way whose client has been waited for the longest.

    A client is waited for that is to send a request, or the rest of one, or to take what it is sent.

    :param state: what the app's lifespan left for its requests.
    """

    def __init__(self, app: App, state: Mapping[str, Any], *, most: int = MAX_CONNECTIONS) -> None:
        self._app = app
        self._state = state
        self._most = most
        self._open = 0
        self._waiting: dict[trio.CancelScope, float] = {}  # since when

    async def answer(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Answer what comes over a connection, until it ends."""
        if self._open >= self._most and not self._make_room():
            log.debug("a connection was closed: there are too many", most=self._most)
            await trio.aclose_forcefully(stream)
            return
        self._open += 1
        try:
            with trio.CancelScope() as scope:
                await Connection(self._app, stream, self._state, partial(self._waits, scope)).run()
        finally:
            self._open -= 1
            self._waiting.pop(scope, None)

    def _waits(self, scope: trio.CancelScope, since: float | None) -> None:
        if scope.cancel_called:
            return  # it has given way already
        if since is None:
            self._waiting.pop(scope, None)
        else:
            self._waiting[scope] = since

    def _make_room(self) -> bool:
        if not self._waiting:
            return False
        oldest = min(self._waiting, key=self._waiting.__getitem__)
        del self._waiting[oldest]
        oldest.cancel()
        return True


def _listen(settings: HttpSettings) -> socket.socket:
    ip, port = settings.ip, settings.port
    ports = range(port, min(port + _FURTHER_PORTS, 65536)) if settings.next_port else (port,)
    for number in ports:
        made = socket.socket(socket.AF_INET if isinstance(ip, IPv4Address) else socket.AF_INET6, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((str(ip), number))
            made.listen(_BACKLOG)
        except OSError as error:
            made.close()
            if number == ports[-1]:
                raise AddressInUse(
                    f"cannot listen for HTTP on {settings.address}: {error.strerror}; choose another --http, or --no-http"
                ) from error
        else:
            return made
    raise AssertionError("there is a port to try")
