"""A node in a process of its own: its log, its control socket, HTTP, and what it prints."""

import logging
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import trio

from espeer import log
from espeer.api.http.settings import HttpSettings
from espeer.cli.show import print_json
from espeer.cli.supervised import READY, STOPPING, stay_alive, tell
from espeer.config import Config, Role
from espeer.folder import socket_path
from espeer.settings import Service
from espeer.tasks import background

if TYPE_CHECKING:
    from espeer.api.http.served import Served
    from espeer.node import Node

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_JOINING: dict[Role, tuple[str, str]] = {
    "peer": ("node {} is up; others join it with:", "espeer node --bootstrap "),
    "server": ("server {} is up; clients join it with:", "espeer node --role client --server "),
    "client": ("client {} is up; its servers:", ""),
}


def serve(config: Config, web: HttpSettings | None, service: Service, *, json: bool) -> None:
    """Run a node until a signal says to stop.

    :param json: say in one line of JSON that it is up.
    """
    log.configure(getattr(logging, service.log_level.upper()), form=service.log_format)
    trio.run(partial(_serve_until_signal, config, web, json=json))


async def _serve_until_signal(config: Config, web: HttpSettings | None, *, json: bool) -> None:
    with trio.open_signal_receiver(*STOP_SIGNALS) as signals:
        async with background() as nursery:
            nursery.start_soon(_cancel_on, signals, nursery.cancel_scope)
            await _run(config, web, json=json)


async def _cancel_on(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()
        return


async def _run(config: Config, web: HttpSettings | None, *, json: bool) -> None:
    from espeer.api import control  # noqa: PLC0415 - libp2p takes a second to import, and no other command needs it
    from espeer.node import Node  # noqa: PLC0415

    async with background() as outer:
        # before the model is loaded: /health tells that it is
        served, url = await _serve_http(outer, web) if web else (None, None)
        async with Node(config) as running, background() as nursery:
            await nursery.start(control.serve, running, socket_path(config.data))
            if served:
                served.up(running)
            tell(READY)
            nursery.start_soon(stay_alive)
            try:
                if json:
                    print_json({"peer_id": running.identity.peer_id, "addresses": running.addresses(), "http": url})
                else:
                    await _print_joining(config, running)
                    if url:
                        print(f"dashboard and APIs: {url}/")  # noqa: T201
                sys.stdout.flush()
                await trio.sleep_forever()
            finally:
                tell(STOPPING)
                if served:
                    served.down()


async def _serve_http(nursery: trio.Nursery, web: HttpSettings) -> tuple["Served", str]:
    """Serve HTTP from now on; return what stands before the node, and the URL."""
    from espeer.api.http.served import Served  # noqa: PLC0415 - FastAPI takes 11 MB and half a second of a processor
    from espeer.api.http.server import serve  # noqa: PLC0415

    served = Served()
    return served, await nursery.start(serve, served, web)


async def _print_joining(config: Config, running: "Node") -> None:
    """Print what others join by."""
    if running.config.psk and config.role != "client":
        print(f"node {running.identity.peer_id} is up; others join it by the ticket that `espeer invite` prints")  # noqa: T201
        sys.stdout.flush()
        return
    said, join = _JOINING[config.role]
    print(said.format(running.identity.peer_id))  # noqa: T201 - what the operator waits for
    printed = [*running.config.servers, *running.addresses()]
    _print_addresses(join, printed)
    if config.relays:
        _print_addresses(join, [address for address in await running.relayed() if address not in printed])


def _print_addresses(join: str, addresses: Sequence[str]) -> None:
    for address in addresses:
        print(f"  {join}{address}")  # noqa: T201
    sys.stdout.flush()
