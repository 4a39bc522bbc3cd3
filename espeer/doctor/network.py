"""Ports, addresses and peers. Nobody is connected to but this machine's own addresses, unless that is asked for."""

import errno
import ipaddress
import re
import socket
from collections.abc import Iterator, Sequence
from typing import Final

from espeer.api.http.settings import of_service
from espeer.config import Config
from espeer.doctor.finding import Finding, Situation
from espeer.errors import BadAddress, ConfigError

_ADDRESS: Final = re.compile(r"/(ip4|ip6|dns|dns4|dns6)/([^/]+)/tcp/(\d+)")
_CONNECT_SECONDS: Final = 1.0
_BAD_SCORE: Final = 50.0
_IPV6: Final = 6
_REASONS: Final = {
    errno.EADDRINUSE: ("another program has it", "stop that program, or give another port"),
    errno.EADDRNOTAVAIL: ("this machine has no such address", "give one that it has, or 0.0.0.0"),
    errno.EACCES: ("this user may not listen there", "give a port of 1024 or more"),
}


def unusable(config: Config) -> Iterator[tuple[str, str]]:
    """Tell which settings hold something that is no address or peer id, and what is wrong: a node does not start with it."""
    from espeer.p2p import addresses as parsing  # noqa: PLC0415 - multiaddr takes a while to import

    for name, parse, texts in (
        ("listen", parsing.parse_listen, config.listen),
        ("announce", parsing.parse_announced, config.announce),
        ("bootstrap", parsing.parse_peer, config.bootstrap),
        ("servers", parsing.parse_peer, config.servers),
        ("relays", parsing.parse_relay, [text for text in config.relays if text != parsing.FIND_RELAYS]),
        ("allow", parsing.parse_peer_id, config.allow),
        ("deny", parsing.parse_peer_id, config.deny),
    ):
        for text in texts:
            try:
                parse(text)
            except BadAddress as error:
                yield name, str(error)


def addresses(given: Situation) -> Iterator[Finding]:
    """Whether what is set are addresses and peer ids at all."""
    for name, said in unusable(given.config):
        yield Finding("addresses", "fail", said, f"mend the setting {name}")


def listening(given: Situation) -> Iterator[Finding]:
    """Whether the ports are free, or held by the node that runs."""
    if given.config.offline or given.config.role == "client":
        yield Finding("port", "ok", "a client does not listen" if given.config.role == "client" else "offline: no network")
        return
    held = [port for _, _, port in _parsed(given.status["addresses"])] if given.status else []
    for family, host, port in _parsed(given.config.listen):
        if port == 0:
            yield Finding("port", "ok", f"any free one of {host}")
        elif port in held:
            yield Finding("port", "ok", f"our node listens on {port}")
        else:
            yield _free("port", host, port, socket.AF_INET6 if family == "ip6" else socket.AF_INET)


def reach(given: Situation) -> Iterator[Finding]:
    """Whether others can reach this node, as far as can be told from here."""
    config = given.config
    if config.offline or config.role == "client":
        return
    listen = given.status["addresses"] if given.status else config.listen  # a node that runs may have been given others
    local = all(_is_loopback(host) for _, host, _ in _parsed(listen))
    remote = any(not _is_loopback(host) for _, host, _ in _parsed(config.bootstrap))
    if local and remote and not config.relays:
        said = "the node joins others through the network, but listens on this machine only: nobody can dial it"
        yield Finding("reach", "warn", said, "give --listen /ip4/0.0.0.0/tcp/4001, or --relay auto behind a NAT")
    elif local and not config.relays:
        yield Finding("reach", "ok", "this machine only; --listen /ip4/0.0.0.0/tcp/4001 is for others")
    else:
        yield Finding("reach", "ok", "others can dial it, if nothing stands between" if not local else "through relays")
    if given.status:
        for _, host, port in _parsed(config.announce):
            yield _connected("announced address", host, port, "open the port in the firewall or forward it on the router")
    if given.network:
        for _, host, port in _parsed((*config.bootstrap, *config.servers)):
            yield _connected("bootstrap", host, port, "see whether that node runs, and whether a firewall is between")


def http(given: Situation) -> Iterator[Finding]:
    """Whether HTTP can be served: its key, its port."""
    try:
        web = of_service(given.service)
    except ConfigError as error:
        yield Finding("http", "fail", str(error), "see --http, --http-key-file")
        return
    if web is None:
        yield Finding("http", "ok", "off")
    elif web.next_port or web.port == 0:
        more = ", or one of the next ports where that is taken" if web.next_port else ", with a free port"
        yield Finding("http", "ok", f"{web.address}{more}")
    elif given.status:
        yield _connected("http", str(web.ip), web.port, "the node was started with another --http; restart it")
    else:
        yield _free("http", str(web.ip), web.port, socket.AF_INET6 if web.ip.version == _IPV6 else socket.AF_INET)


def peers(given: Situation) -> Iterator[Finding]:
    """Whether the node that runs has company."""
    if not given.status:
        return
    bad = [peer["peer_id"] for peer in given.peers if peer.get("score", 0) >= _BAD_SCORE]
    if bad:
        said = f"{', '.join(bad)} break the protocol"
        yield Finding("peers", "warn", said, "ask who runs them; --deny keeps one out")
    count = len(given.peers)
    named = given.config.bootstrap or given.config.servers
    if count == 0 and named:
        said = f"none, though there are {len(named)} addresses to join by"
        yield Finding("peers", "warn", said, "try `espeer doctor --dial`; the node's log says why it does not connect")
    elif count and given.config.role != "client" and not given.status["network"].get("sync_checks"):
        yield Finding("peers", "warn", f"{count}, and no replica was compared with one yet", "wait for --repair-interval")
    else:
        yield Finding("peers", "ok", f"{count} connected")


def _parsed(addresses: Sequence[str]) -> list[tuple[str, str, int]]:
    found = (_ADDRESS.match(address) for address in addresses)
    return [(one[1], one[2], int(one[3])) for one in found if one]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _free(check: str, host: str, port: int, family: socket.AddressFamily) -> Finding:
    """Whether one could listen there. Nobody can connect meanwhile: the socket is bound and does not listen."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        said, advice = _REASONS.get(error.errno or 0, (error.strerror or str(error), "give another"))
        return Finding(check, "fail", f"cannot listen on {host}:{port}: {said}", advice)
    except OverflowError:
        return Finding(check, "fail", f"{port} is no port", "give one up to 65535")
    return Finding(check, "ok", f"{host}:{port} is free")


def _connected(check: str, host: str, port: int, advice: str) -> Finding:
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        return Finding(check, "warn", f"cannot connect to {host}:{port}: {error}", advice)
    return Finding(check, "ok", f"{host}:{port} answers")
