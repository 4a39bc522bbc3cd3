"""Which network a data folder belongs to, kept in the folder itself.

What a node learnt in one network must not leak into another because of a flag that was forgotten or mistyped: so the name
and the key are kept with the data, and a contradiction is an error. The file holds a ticket, see :mod:`espeer.p2p.ticket`;
it is its user's alone, because the key of a private network may be in it.
"""

from dataclasses import replace
from pathlib import Path

from espeer import ownfile
from espeer.config import DEFAULT_NETWORK, DEFAULT_TYPES, Config
from espeer.errors import ConfigError
from espeer.folder import membership_path
from espeer.p2p import ticket
from espeer.p2p.psk import new_key, read_key_file
from espeer.p2p.ticket import MAX_TICKET, Ticket


def settle(config: Config) -> tuple[Config, Ticket | None]:
    """Fill in what the folder, a ticket or a key file says.

    Whoever calls this holds the data folder.

    :return: the settings with network, types, bootstrap addresses and key as they are to be used; and what the folder is to
        :func:`remember` once nothing else is in the way of the node, if it does not say so already.
    :raises ConfigError: they contradict each other, or one of the files cannot be used.
    """
    path = membership_path(config.data)
    if config.offline:
        kept = _load(path)
        network = config.network or (kept.network if kept else DEFAULT_NETWORK)
        return replace(config, network=network, types=config.types or (kept and kept.types) or DEFAULT_TYPES), None
    kept = _load(path)
    joined = ticket.decode(config.join) if config.join else None
    network = _network(config, joined, kept)
    key = _key(config, joined, kept)
    said = joined or kept or Ticket(network)
    member = Ticket(network, key, said.addresses, said.types)
    servers = (config.servers or member.addresses) if config.role == "client" else ()
    if config.role == "client" and not servers:
        raise ConfigError("a client needs its server's address: give --server, or --join with a ticket that the server made")
    settled = replace(
        config,
        network=network,
        servers=servers,
        types=config.types or member.types or DEFAULT_TYPES,
        # a client talks to its servers alone
        bootstrap=() if config.role == "client" else tuple(dict.fromkeys([*config.bootstrap, *member.addresses])),
        psk=key,
        join="",
    )
    return settled, member if member != kept else None


def _network(config: Config, joined: Ticket | None, kept: Ticket | None) -> str:
    if joined and config.network and config.network != joined.network:
        raise ConfigError(f"the ticket is for the network {joined.network!r}, not {config.network!r}; leave --network out")
    network = joined.network if joined else config.network
    if kept and network and network != kept.network:
        raise ConfigError(
            f"{config.data} belongs to the network {kept.network!r}, not {network!r}; choose another folder with --data"
        )
    return network or (kept.network if kept else DEFAULT_NETWORK)


def _key(config: Config, joined: Ticket | None, kept: Ticket | None) -> bytes | None:
    given = config.psk
    if config.psk_file is not None:
        given = read_key_file(config.psk_file)
    if joined and given and given != joined.key:
        raise ConfigError("the ticket has another key than the file given with --psk; leave --psk out")
    if joined and kept and joined.key != kept.key:
        was = "a private network with another key" if kept.key else "an open network, and the ticket is for a private one"
        raise ConfigError(f"{config.data} belongs to {was}; choose another folder with --data")
    if kept and not kept.key and (given or config.private):
        raise ConfigError(f"{config.data} belongs to an open network; choose another folder with --data for a private one")
    if given and kept and kept.key and given != kept.key:
        raise ConfigError(f"{config.data} belongs to a private network with another key; choose another folder with --data")
    if joined and config.private and not joined.key:
        raise ConfigError("the ticket is for an open network; leave --private out")
    key = (joined and joined.key) or given or (kept and kept.key) or None
    if key or not config.private:
        return key
    if config.bootstrap or config.role == "client":
        raise ConfigError(
            "--private makes a new key, which no other node has; to enter a private network give --join its ticket"
        )
    return new_key()


def _load(path: Path) -> Ticket | None:
    try:
        data = ownfile.read(path, MAX_TICKET)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    try:
        return ticket.decode(data.decode("ascii"))
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"{path} is damaged; restore it, or remove it and join the network again") from error


def remember(data: Path, member: Ticket) -> None:
    """Have a folder belong to a network. The file is replaced in one step: a power cut leaves the old one or the new one.

    :raises ConfigError: it cannot be written.
    """
    path = membership_path(data)
    try:
        ownfile.replace(path, f"{ticket.encode(member)}\n".encode(), durable=True)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}; free some disk space and try again") from error
