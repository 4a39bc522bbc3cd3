"""`espeer node`: run a node."""

import sys
from typing import Annotated

from cyclopts import Parameter

from espeer.api.http.settings import of_service
from espeer.cli.flags import NO_FLAGS, Flags, given
from espeer.cli.options import ConfigFile
from espeer.errors import ConfigError
from espeer.sources import Chosen, choose, ticket_from


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
    from espeer.cli.serving import serve  # noqa: PLC0415 - trio and structlog take a while to import

    given_flags = given(flags)
    if no_http:
        given_flags["http"] = "off"
    if verbose:
        given_flags["log_level"] = "debug"
    chosen = choose(config, flags=given_flags)
    service = chosen.service()
    serve(chosen.config(join=_ticket(chosen)), of_service(service), service, json=json)


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
