import os
from dataclasses import replace
from pathlib import Path

import pytest

from espeer import membership
from espeer.config import Config
from espeer.errors import ConfigError
from espeer.p2p.ticket import Ticket, encode

PEER = "12D3KooWLyq9Ub2JHWsx9Qycfpz1NdbgVSWSnYLNhFHCb9v9uiMg"
HERE, THERE = (f"/ip4/192.0.2.{host}/tcp/4001/p2p/{PEER}" for host in (1, 2))
KEY, OTHER = b"k" * 32, b"o" * 32


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(data=tmp_path)


def settle(config: Config) -> Config:
    settled, member = membership.settle(config)
    if member is not None:
        membership.remember(config.data, member)
    return settled


def ticket(network: str = "plant", key: bytes | None = KEY, *addresses: str, types: tuple[str, ...] = ("pumps",)) -> str:
    return encode(Ticket(network, key, addresses or (HERE,), types))


def key_file(path: Path, key: bytes) -> Path:
    path.write_text(f"/key/swarm/psk/1.0.0/\n/base16/\n{key.hex()}\n")
    path.chmod(0o600)
    return path


def test_without_anything_it_is_the_open_main_network(config: Config) -> None:
    settled = settle(config)
    assert (settled.network, settled.types, settled.bootstrap, settled.psk) == ("main", ("general",), (), None)
    assert settle(config) == settled


def test_a_ticket_says_it_all_and_is_needed_once(config: Config, tmp_path: Path) -> None:
    settled = settle(replace(config, join=ticket(), bootstrap=(THERE,)))
    assert (settled.network, settled.types, settled.bootstrap, settled.psk) == ("plant", ("pumps",), (THERE, HERE), KEY)
    again = settle(config)
    assert (again.network, again.types, again.bootstrap, again.psk) == ("plant", ("pumps",), (HERE,), KEY)
    assert (tmp_path / "membership").stat().st_mode & 0o777 == 0o600


def test_a_client_joins_its_servers_alone(config: Config) -> None:
    client = replace(config, role="client", servers=(THERE,), join=ticket())
    assert (settle(client).psk, settle(client).bootstrap, settle(client).servers) == (KEY, (), (THERE,))


def test_a_clients_servers_are_those_of_its_ticket_unless_it_names_some(config: Config) -> None:
    assert settle(replace(config, role="client", join=ticket())).servers == settle(replace(config, role="client")).servers != ()


def test_a_client_that_knows_no_server_is_refused(config: Config) -> None:
    with pytest.raises(ConfigError, match="a client needs its server's address"):
        settle(replace(config, role="client"))


def test_only_a_node_that_can_start_binds_the_folder(config: Config) -> None:
    settled, member = membership.settle(replace(config, network="plnat"))
    assert (settled.network, member) == ("plnat", Ticket("plnat"))
    assert settle(replace(config, network="plant")).network == "plant"
    assert membership.settle(config)[1] is None


def test_types_that_are_given_outweigh_those_of_the_ticket(config: Config) -> None:
    assert settle(replace(config, join=ticket(), types=("valves",))).types == ("valves",)


def test_a_newer_ticket_brings_other_addresses(config: Config) -> None:
    settle(replace(config, join=ticket()))
    settle(replace(config, join=ticket("plant", KEY, THERE)))
    assert settle(config).bootstrap == (THERE,)


def test_neither_the_key_nor_the_ticket_is_shown(config: Config) -> None:
    given = replace(config, join=ticket())
    assert given.join not in repr(given)
    assert repr(KEY) not in repr(settle(given))


def test_a_private_network_gets_its_key_once(config: Config) -> None:
    key = settle(replace(config, private=True)).psk
    assert key is not None
    assert len(key) == 32
    assert settle(replace(config, private=True)).psk == key
    assert settle(config).psk == key


def test_private_may_be_said_again_beside_others_once_there_is_a_key(config: Config) -> None:
    settle(replace(config, join=ticket()))
    assert settle(replace(config, private=True, bootstrap=(THERE,))).psk == KEY


def test_a_key_file_is_remembered(config: Config, tmp_path: Path) -> None:
    assert settle(replace(config, psk_file=key_file(tmp_path / "key", KEY))).psk == KEY
    assert settle(config).psk == KEY
    assert settle(replace(config, psk_file=tmp_path / "key", private=True)).psk == KEY


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        ({"network": "a"}, {"network": "b"}, "belongs to the network 'a', not 'b'; choose another folder with --data"),
        ({}, {"join": ticket()}, "belongs to the network 'main', not 'plant'"),
        ({}, {"join": ticket("main")}, "belongs to an open network, and the ticket is for a private one"),
        ({"join": ticket()}, {"join": ticket("plant", OTHER)}, "belongs to a private network with another key"),
        ({"join": ticket()}, {"join": ticket("plant", None)}, "belongs to a private network with another key"),
        ({"join": ticket()}, {"network": "main"}, "belongs to the network 'plant', not 'main'"),
        ({"join": ticket()}, {"psk": OTHER}, "belongs to a private network with another key"),
        ({}, {"psk": OTHER}, "belongs to an open network; choose another folder with --data"),
        ({}, {"private": True}, "belongs to an open network; choose another folder with --data"),
    ],
)
def test_a_folder_stays_in_its_network(
    config: Config, tmp_path: Path, first: dict[str, str], then: dict[str, str], message: str
) -> None:
    settle(replace(config, **first))
    before = (tmp_path / "membership").read_bytes()
    with pytest.raises(ConfigError, match=message):
        settle(replace(config, **then))
    assert (tmp_path / "membership").read_bytes() == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"join": ticket(), "network": "main"}, "leave --network out"),
        ({"join": ticket(), "psk": OTHER}, "leave --psk out"),
        ({"join": ticket("plant", None), "private": True}, "leave --private out"),
        ({"join": "espeer1oops"}, "incomplete"),
        ({"private": True, "bootstrap": (HERE,)}, "to enter a private network give --join its ticket"),
        ({"private": True, "role": "client", "servers": (HERE,)}, "to enter a private network give --join its ticket"),
    ],
)
def test_settings_that_contradict_each_other(config: Config, tmp_path: Path, given: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settle(replace(config, **given))
    assert not (tmp_path / "membership").exists()


@pytest.mark.parametrize("content", [b"", b"espeer1oops\n", b"\xff" * 100, b"x" * 100_000])
def test_a_damaged_file_is_named(config: Config, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "membership").write_bytes(content)
    (tmp_path / "membership").chmod(0o600)
    with pytest.raises(ConfigError, match="is damaged"):
        settle(config)


def test_a_file_that_others_can_read_is_refused(config: Config, tmp_path: Path) -> None:
    settle(replace(config, join=ticket()))
    (tmp_path / "membership").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        settle(config)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(config: Config, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="cannot write"):
        settle(config)


def test_offline_it_takes_what_there_is_and_writes_nothing(config: Config, tmp_path: Path) -> None:
    offline = replace(config, offline=True)
    assert (settle(offline).network, settle(offline).types) == ("main", ("general",))
    assert not (tmp_path / "membership").exists()
    settle(replace(config, join=ticket()))
    assert (settle(offline).network, settle(offline).types) == ("plant", ("pumps",))
