"""The HTTP server: a listening socket, and what answers on it."""

import importlib.metadata
import logging
import socket
from ipaddress import IPv4Address
from typing import Any, Final, cast

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as hypercorn_serve

from espeer.api.http.app import make_app
from espeer.api.http.guard import App, Guard
from espeer.api.http.served import Served
from espeer.api.http.settings import HttpSettings
from espeer.errors import AddressInUse

_FURTHER_PORTS: Final = 20
_BACKLOG: Final = 128
_KEEP_ALIVE_SECONDS: Final = 30


async def serve(node: Served, settings: HttpSettings, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
    """Answer HTTP until cancelled; started with the URL once it listens.

    :raises AddressInUse: cannot listen there.
    """
    listening = _listen(settings)
    config = Config()
    config.bind = [f"fd://{listening.fileno()}"]
    config.backlog = _BACKLOG
    config.keep_alive_timeout = _KEEP_ALIVE_SECONDS
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger("espeer.http")
    config.errorlog.setLevel(logging.WARNING)  # that it listens we say ourselves
    host, port = listening.getsockname()[:2]
    listening.detach()  # hypercorn takes it over by its number
    app = make_app(node, version=importlib.metadata.version("espeer"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(app.state.feed.run)
        nursery.start_soon(app.state.metrics.run)
        await nursery.start(_serve, app.state.metrics.http.around(Guard(app, settings)), config)
        task_status.started(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")


async def _serve(app: App, config: Config, *, task_status: trio.TaskStatus[Any]) -> None:
    await hypercorn_serve(cast("Any", app), config, shutdown_trigger=trio.sleep_forever, task_status=task_status, mode="asgi")


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
