import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from replicas import identity

from espeer.p2p.acquaintances import FRESH_MS, MAX_DIALLED, MAX_FILE, MAX_TOLD, MEMORY_MS, Acquaintances
from espeer.p2p.addresses import PeerAddress

NOW = 1_800_000_000_000
PEERS = [identity(number).peer_id for number in range(1, 400)]


def address(number: int, port: int = 4001) -> PeerAddress:
    return PeerAddress(PEERS[number], f"/ip4/192.0.2.{number % 250}/tcp/{port}")


def met(*numbers: int, dialled: bool = True, now: int = NOW) -> Acquaintances:
    table = Acquaintances()
    for number in numbers:
        table.met(PEERS[number], [address(number)], now, dialled=dialled)
    return table


def test_the_table_is_read_as_it_was_written() -> None:
    table = met(1, 2)
    table.met(PEERS[3], [address(3, 1), address(3, 2)], NOW + 5, dialled=False)
    table.failed(PEERS[1], NOW + 6)
    again = Acquaintances.decode(table.encode())
    assert again.best() == table.best()
    assert again.encode() == table.encode()
    assert not again.changed


def test_who_was_dialled_is_tried_first_then_who_did_not_fail_then_the_latest() -> None:
    table = met(1)
    table.met(PEERS[2], [address(2)], NOW + 1, dialled=True)
    table.met(PEERS[3], [address(3)], NOW + 2, dialled=True)
    table.met(PEERS[4], [address(4)], NOW + 3, dialled=False)
    table.failed(PEERS[3], NOW + 4)
    assert [peer_id for peer_id, _ in table.best()] == [PEERS[2], PEERS[1], PEERS[3], PEERS[4]]
    table.met(PEERS[3], [address(3)], NOW + 5, dialled=True)
    assert table.best()[0][0] == PEERS[3]


def test_the_address_that_answered_stays_first_whatever_its_owner_says() -> None:
    table = met(1)
    table.met(PEERS[1], [address(1, port) for port in (1, 2, 3, 4, 5)], NOW, dialled=False)
    assert table.best()[0][1] == [address(1, port) for port in (4001, 1, 2, 3)]
    table.met(PEERS[1], [address(1, 2)], NOW, dialled=True)
    assert table.best()[0][1] == [address(1, port) for port in (2, 4001, 1, 3)]


def test_those_that_came_to_us_do_not_push_out_those_that_we_dialled() -> None:
    table = met(1, 2)
    for number in range(10, 200):
        table.met(PEERS[number], [address(number)], NOW + number, dialled=False)
    assert PEERS[1] in table
    assert PEERS[2] in table
    assert len(table) == 2 + MAX_TOLD
    assert PEERS[199] in table
    assert PEERS[10] not in table


def test_of_too_many_those_that_failed_go_first() -> None:
    table = met(*range(MAX_DIALLED))
    table.failed(PEERS[7], NOW)
    table.met(PEERS[200], [address(200)], NOW + 1, dialled=True)
    assert PEERS[7] not in table
    assert len(table) == MAX_DIALLED
    table.met(PEERS[201], [address(201)], NOW + 1, dialled=True)
    assert PEERS[0] not in table


def test_who_was_away_for_long_is_forgotten_when_it_fails() -> None:
    table = met(1)
    table.failed(PEERS[1], NOW + MEMORY_MS)
    assert PEERS[1] in table
    table.failed(PEERS[1], NOW + MEMORY_MS + 1)
    assert PEERS[1] not in table
    table.failed(PEERS[2], NOW)  # never met


def test_only_what_is_new_is_worth_writing_down() -> None:
    table = met(1)
    assert table.changed
    table.changed = False
    table.met(PEERS[1], [address(1)], NOW + FRESH_MS, dialled=True)
    assert not table.changed
    table.met(PEERS[1], [address(1)], NOW + 3 * FRESH_MS, dialled=True)
    assert table.changed


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail_in_another_way(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - only the kind matters: whoever calls goes on without
        Acquaintances.decode(data)


GOOD = [[str(address(1))], True, NOW, 0]


@pytest.mark.parametrize(
    "value",
    [
        [2, [GOOD]],
        [1, [GOOD] * 193],
        [1, [[[], True, NOW, 0]]],
        [1, [[[str(address(1))] * 5, True, NOW, 0]]],
        [1, [[[str(address(1)), str(address(2))], True, NOW, 0]]],
        [1, [[["/ip4/192.0.2.1"], True, NOW, 0]]],
        [1, [[[str(address(1))], 1, NOW, 0]]],
        [1, [[[str(address(1))], True, "now", 0]]],
        [1, [7]],
    ],
)
def test_a_table_that_says_something_else_is_refused(value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - as above
        Acquaintances.decode(msgpack.packb(value))


def test_a_huge_file_is_refused() -> None:
    with pytest.raises(ValueError, match="more than"):
        Acquaintances.decode(bytes(MAX_FILE + 1))


def test_a_full_table_fits_the_file() -> None:
    table = Acquaintances()
    for number in range(300):
        host = ".".join(["a" * 44] * 4)
        told = [PeerAddress(PEERS[number], f"/dns4/{host}/tcp/{port}") for port in range(1, 5)]
        table.met(PEERS[number], told, NOW, dialled=number % 2 == 0)
    assert len(Acquaintances.decode(table.encode())) == MAX_DIALLED + MAX_TOLD
