import base64
import hashlib
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from replicas import identity

from espeer.errors import ConfigError
from espeer.p2p.ticket import MAX_TICKET, Ticket, decode, encode

PEER = identity(1).peer_id
ADDRESS = f"/ip4/192.0.2.1/tcp/4001/p2p/{PEER}"

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=32)
ports = st.integers(1, 65535)
addresses = st.builds(lambda ip, port: f"/ip4/{ip}/tcp/{port}/p2p/{PEER}", st.ip_addresses(v=4), ports)
tickets = st.builds(
    Ticket,
    names,
    st.none() | st.binary(min_size=32, max_size=32),
    st.lists(addresses, max_size=8).map(tuple),
    st.lists(names, max_size=64, unique=True).map(tuple),
)


@given(tickets)
def test_a_ticket_is_read_as_it_was_written(ticket: Ticket) -> None:
    text = encode(ticket)
    assert decode(text) == ticket
    assert len(text) <= MAX_TICKET


def test_what_happens_to_a_ticket_in_a_message_does_no_harm() -> None:
    text = encode(Ticket("plant", bytes(32), (ADDRESS,), ("pumps",)))
    assert decode(f"  {text[:50].upper()}\r\n  {text[50:]}\n") == Ticket("plant", bytes(32), (ADDRESS,), ("pumps",))


def test_the_form_is_fixed() -> None:
    assert encode(Ticket("main")) == "espeer1sssg2yljn3cabeeqt7cuyxi"


def test_the_key_is_not_shown() -> None:
    assert "key" not in repr(Ticket("main", b"k" * 32))


@given(tickets, st.data())
def test_a_changed_ticket_is_refused(ticket: Ticket, data: st.DataObject) -> None:
    text = encode(ticket)
    place = data.draw(st.integers(len("espeer1"), len(text) - 1))
    other = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz234567!=é").filter(lambda letter: letter != text[place]))
    changed = text[:place] + other + text[place + 1 :]
    with pytest.raises(ConfigError, match="copy it again") as refused:
        decode(changed)
    assert changed not in str(refused.value)


@given(tickets, st.data())
def test_a_part_of_a_ticket_is_refused(ticket: Ticket, data: st.DataObject) -> None:
    text = encode(ticket)
    with pytest.raises(ConfigError):
        decode(text[: data.draw(st.integers(0, len(text) - 1))])


@given(st.text(max_size=200), st.booleans())
def test_no_text_makes_it_fail_in_another_way(text: str, prefixed: bool) -> None:
    with pytest.raises(ConfigError):
        decode("espeer1" * prefixed + text)


def written(value: Any, *, more: bytes = b"") -> str:
    """A ticket, as somebody who means ill writes it: the checksum is right."""
    payload = msgpack.packb(value) + more
    checksum = hashlib.sha256(b"espeer1" + payload).digest()[:4]
    return "espeer1" + base64.b32encode(payload + checksum).decode().rstrip("=").lower()


@pytest.mark.parametrize(
    "value",
    [
        ["main"],
        ["Main!", b"", [], []],
        ["main", b"short", [], []],
        ["main", "", [], []],
        ["main", b"", ["/ip4/192.0.2.1"], []],
        ["main", b"", [ADDRESS] * 9, []],
        ["main", b"", [1], []],
        ["main", b"", [], ["No Type"]],
        ["main", b"", [], ["a"] * 65],
        ["main", b"", [], [], []],
        {"main": 1},
        7,
    ],
)
def test_what_a_ticket_says_is_checked(value: Any) -> None:
    with pytest.raises(ConfigError):
        decode(written(value))


def test_there_is_one_way_to_write_a_ticket() -> None:
    assert decode(written(["main", b"", [], []])) == Ticket("main")
    with pytest.raises(ConfigError):
        decode(written(["main", b"", [], []], more=b"\x00"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a ticket"),
        ("/ip4/192.0.2.1/tcp/4001", "not a ticket"),
        ("espeer2abc", "another version"),
        ("espeer1" + "a" * MAX_TICKET, "at most"),
    ],
)
def test_the_error_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        decode(text)
