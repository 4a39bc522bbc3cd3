"""`espeer node`: run a node."""

import logging
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import trio
from cyclopts import Parameter

from espeer import log
from espeer.api.http.settings import DEFAULT_ADDRESS, HttpSettings
from espeer.cli.flags import NO_FLAGS, Flags, given
from espeer.cli.options import ConfigFile
from espeer.cli.show import print_json
from espeer.config import Config, Role
from espeer.errors import ConfigError
from espeer.folder import socket_path
from espeer.settings import Service
from espeer.sources import Chosen, choose, secret, ticket_from
from espeer.tasks import background

if TYPE_CHECKING:
    from espeer.node import Node

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_JOINING: dict[Role, tuple[str, str]] = {
    "peer": ("node {} is up; others join it with:", "espeer node --bootstrap "),
    "server": ("server {} is up; clients join it with:", "espeer node --role client --server "),
    "client": ("client {} is up; its servers:", ""),
}


def node(
    *,
    flags: Flags = NO_FLAGS,
    config: ConfigFile = None,
    no_http: Annotated[bool, Parameter(help="no HTTP at all: as --http off.")] = False,
    verbose: Annotated[bool, Parameter(alias="-v", help="log more: as --log-level debug.")] = False,
    json: Annotated[bool, Parameter(help="say in one line of JSON that the node is up, and where.")] = False,
) -> None:
    """Run a node until Ctrl-C.

    Example: espeer node --bootstrap /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW... --type pumps --type valves

    A data folder belongs to one network: it keeps its name, and the key of a private one. With --join "-" the ticket is read
    from standard input, so that others on this machine do not see it.

    Each setting can also stand in a file (see `espeer config init`) or in a variable: --kv-cache-mb is ESPEER_KV_CACHE_MB.
    A flag goes before a variable, a variable before the file. `espeer config show --origin` tells what came from where.
    """
    given_flags = given(flags)
    if no_http:
        given_flags["http"] = "off"
    if verbose:
        given_flags["log_level"] = "debug"
    chosen = choose(config, flags=given_flags)
    service = chosen.service()
    log.configure(getattr(logging, service.log_level.upper()), form=service.log_format)
    trio.run(partial(_serve_until_signal, chosen.config(join=_ticket(chosen)), _http_settings(service), json=json))


def _http_settings(service: Service) -> HttpSettings | None:
    if service.http == "off":
        return None
    if service.http_key and service.http_key_file:
        raise ConfigError("http-key and http-key-file are both given; give one of them")
    key = service.http_key
    if service.http_key_file:
        key = secret(service.http_key_file, "an HTTP key; make one with: openssl rand -hex 32")
    free = service.http == "auto"
    return HttpSettings(address=DEFAULT_ADDRESS if free else service.http, next_port=free, key=key, names=service.http_names)


def _ticket(chosen: Chosen) -> str:
    """Return the ticket. One that is given but empty, as by an `espeer invite` that failed, must not found a new network."""
    from espeer.p2p.ticket import MAX_TICKET  # noqa: PLC0415 - no other command needs what it imports

    given, service = chosen.values.get("join"), chosen.service()
    from_file = chosen.origins.get("join", "").startswith(str(chosen.file))
    if given is None or (from_file and not given):  # the latter is the default that `espeer config init` writes
        return ticket_from(service)
    if service.join_file:
        raise ConfigError("join and join-file are both given; give one of them")
    ticket = sys.stdin.read(MAX_TICKET + 1) if given == "-" else given
    if not ticket.strip():
        raise ConfigError("the ticket is empty; give --join the line that `espeer invite` prints")
    return ticket


async def _serve_until_signal(config: Config, web: HttpSettings | None, *, json: bool) -> None:
    with trio.open_signal_receiver(*STOP_SIGNALS) as signals:
        async with background() as nursery:
            nursery.start_soon(_cancel_on, signals, nursery.cancel_scope)
            await _serve(config, web, json=json)


async def _cancel_on(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()
        return


async def _serve(config: Config, web: HttpSettings | None, *, json: bool) -> None:
    from espeer.api import control  # noqa: PLC0415 - libp2p takes a second to import, and no other command needs it
    from espeer.api.http.served import Served  # noqa: PLC0415
    from espeer.api.http.server import serve  # noqa: PLC0415
    from espeer.node import Node  # noqa: PLC0415

    served = Served()
    async with background() as outer:
        url = await outer.start(serve, served, web) if web else None  # before the model is loaded: /health tells that it is
        async with Node(config) as running, background() as nursery:
            await nursery.start(control.serve, running, socket_path(config.data))
            served.up(running)
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
                served.down()


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
