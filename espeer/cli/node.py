"""`espeer node`: run a node."""

import logging
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import trio
from cyclopts import Parameter

from espeer import log, ownfile
from espeer.api.http.settings import DEFAULT_ADDRESS, MAX_KEY, HttpSettings
from espeer.config import DEFAULT_LISTEN, Config, Role, default_data
from espeer.errors import ConfigError
from espeer.folder import socket_path
from espeer.scale import Scale
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
    bootstrap: tuple[str, ...] = (),
    join: str | None = None,
    listen: tuple[str, ...] = DEFAULT_LISTEN,
    announce: tuple[str, ...] = (),
    private: Annotated[bool, Parameter(negative=())] = False,
    psk: Path | None = None,
    allow: tuple[str, ...] = (),
    deny: tuple[str, ...] = (),
    relay: tuple[str, ...] = (),
    relay_service: Annotated[bool, Parameter(negative=())] = False,
    mdns: Annotated[bool, Parameter(negative=())] = False,
    role: Role = "peer",
    server: tuple[str, ...] = (),
    ask_peers: Annotated[bool, Parameter(negative="")] = False,
    recall_seconds: float = 1.0,
    data: Annotated[Path | None, Parameter(show_default=False)] = None,
    model: str | None = None,
    type: tuple[str, ...] = (),
    network: Annotated[str, Parameter(show_default=False)] = "",
    threads: int | None = None,
    context: int | None = None,
    kv_cache_mb: int = 128,
    kv_disk_mb: int = 512,
    recall: int = 3,
    answer_tokens: int = 128,
    answer_seconds: float | None = None,
    capture: Annotated[bool, Parameter(negative="--no-capture")] = True,
    warming: Annotated[bool, Parameter(negative="--no-warming")] = True,
    episode_size: int = 4,
    episode_age: float = 30.0,
    repair_interval: float = 20.0,
    refining: Annotated[bool, Parameter(negative="--no-refining")] = True,
    refine_after: int = 200,
    refine_scale: Scale = "normalised",
    refine_threshold: float = 0.6,
    max_records: int = 10_000,
    max_bytes: int = 64 * 1024 * 1024,
    language: str = "english",
    http: str | None = None,
    no_http: Annotated[bool, Parameter(negative=())] = False,
    http_key_file: Path | None = None,
    http_name: tuple[str, ...] = (),
    verbose: Annotated[bool, Parameter(alias="-v")] = False,
) -> None:
    """Run a node until Ctrl-C.

    Example: espeer node --bootstrap /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW... --type pumps --type valves

    A data folder belongs to one network: it keeps its name, and the key of a private one.

    :param bootstrap: address of a node to join through; may be given several times.
    :param join: a ticket to join a network by, see `espeer invite`; "-" reads it from standard input, so that others on this
        machine do not see it. Only the first start needs it.
    :param listen: address to listen on; may be given several times. Port 0 takes a free one.
    :param announce: address that others are told instead, such as /dns4/node.example.org/tcp/4001; may be given several times.
    :param private: have a private network, that only nodes with a ticket can enter; its key is made at the first start.
    :param psk: file with the key of a private network, as all of libp2p writes it; mode 0600.
    :param allow: peer id; if any is given, only these peers are talked to. May be given several times.
    :param deny: peer id of a peer that is never talked to; may be given several times.
    :param relay: address of a relay to be reached through, from behind a NAT, or "auto" to ask the peers that the node
        dials; may be given several times.
    :param relay_service: be a relay for others, within bounds.
    :param mdns: look for nodes of the network on the LAN, and be found there.
    :param role: "peer"; "server" takes what clients submit; "client" holds nothing itself, and needs --server.
    :param server: address of a client's server; may be given several times: the first that answers is used. By default those of
        the ticket.
    :param ask_peers: send questions that name no type to peers that hold other types, too.
    :param recall_seconds: how long other nodes may take to recall.
    :param data: folder for identity, store and control socket (or $ESPEER_HOME).
    :param model: a GGUF file, hf:OWNER/REPO/FILE, or "fake" for tests; by default SmolLM2-135M-Instruct.
    :param type: topic type to hold and share; may be given several times. By default those of the ticket, or "general".
    :param network: only nodes of the same network exchange anything; by default that of the data folder, or "main".
    :param threads: threads for the model; by default the cores of the machine.
    :param context: tokens of the model's context; by default its own, up to 4096.
    :param kv_cache_mb: megabytes of memory for what the model worked out for experiences and prompts; 0 works out all anew.
    :param kv_disk_mb: megabytes of disk for those that there is no room for in memory.
    :param recall: how many experiences go into a prompt, at most.
    :param answer_tokens: the most tokens of an answer.
    :param answer_seconds: the most seconds that an answer may take; then it ends with what is there. By default none.
    :param capture: keep questions and answers on disk, for `espeer feedback`; they never leave the node.
    :param warming: have the model prepare, in idle time, for experiences that are likely to be recalled.
    :param episode_size: an episode is closed when it has this many interactions.
    :param episode_age: an episode is closed this many seconds after its last interaction.
    :param repair_interval: seconds between repair rounds with a random peer.
    :param refining: refine the replica in idle time, and keep it within its budget.
    :param refine_after: refine when so many records are new since the last time.
    :param refine_scale: how alike experiences are, "normalised" (0 to 1) or "raw" (BM25 scores).
    :param refine_threshold: what is at least so alike on that scale is condensed into one.
    :param max_records: the most active experiences; the least useful beyond that are evicted.
    :param max_bytes: the most bytes of all experiences that are kept, superseded ones too.
    :param language: whose words are reduced to their stems for recall, such as "german"; "none" for none.
    :param http: IP:PORT to answer HTTP on: dashboard, OpenAI-compatible endpoint, native API. By default 127.0.0.1:7741,
        or one of the next ports where that is taken. Any other address than this machine's own needs --http-key-file.
    :param no_http: no HTTP at all.
    :param http_key_file: file with the key that HTTP clients must show, mode 0600.
    :param http_name: name that HTTP clients call this node by, beside localhost and IP addresses; may be given several times.
    :param verbose: log more.
    """
    log.configure(logging.DEBUG if verbose else logging.INFO)
    config = Config(
        data=data or default_data(),
        bootstrap=bootstrap,
        join=_ticket(join),
        listen=listen,
        role=role,
        servers=server,
        ask_peers=ask_peers,
        recall_seconds=recall_seconds,
        announce=announce,
        private=private,
        psk_file=psk,
        allow=allow,
        deny=deny,
        relays=relay,
        relay_service=relay_service,
        mdns=mdns,
        model=model,
        types=type,
        network=network,
        threads=threads,
        context=context,
        kv_cache_mb=kv_cache_mb,
        kv_disk_mb=kv_disk_mb,
        recall=recall,
        answer_tokens=answer_tokens,
        answer_seconds=answer_seconds,
        capture=capture,
        warming=warming,
        episode_size=episode_size,
        episode_age=episode_age,
        repair_interval=repair_interval,
        refining=refining,
        refine_after=refine_after,
        refine_scale=refine_scale,
        refine_threshold=refine_threshold,
        max_records=max_records,
        max_bytes=max_bytes,
        language=None if language == "none" else language,
    )
    web = None if no_http else _http_settings(http, http_key_file, http_name)
    trio.run(_serve_until_signal, config, web)


def _http_settings(address: str | None, key_file: Path | None, names: tuple[str, ...]) -> HttpSettings:
    key = ""
    if key_file is not None:
        try:
            key = ownfile.read(key_file, MAX_KEY + 1).decode("ascii").strip()
        except OSError as error:
            raise ConfigError(f"cannot read {key_file}: {error.strerror}; make it with: openssl rand -hex 32") from error
        except UnicodeError as error:
            raise ConfigError(
                f"{key_file} holds something else than an HTTP key; make one with: openssl rand -hex 32"
            ) from error
    return HttpSettings(address=address or DEFAULT_ADDRESS, next_port=address is None, key=key, names=names)


def _ticket(given: str | None) -> str:
    """Return the ticket. One that is given but empty, as by an `espeer invite` that failed, must not found a new network."""
    from espeer.p2p.ticket import MAX_TICKET  # noqa: PLC0415 - no other command needs what it imports

    if given is None:
        return ""
    ticket = sys.stdin.read(MAX_TICKET + 1) if given == "-" else given
    if not ticket.strip():
        raise ConfigError("the ticket is empty; give --join the line that `espeer invite` prints")
    return ticket


async def _serve_until_signal(config: Config, web: HttpSettings | None) -> None:
    with trio.open_signal_receiver(*STOP_SIGNALS) as signals:
        async with background() as nursery:
            nursery.start_soon(_cancel_on, signals, nursery.cancel_scope)
            await _serve(config, web)


async def _cancel_on(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()
        return


async def _serve(config: Config, web: HttpSettings | None) -> None:
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
