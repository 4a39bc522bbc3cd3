import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from replicas import identity

from espeer.errors import BadAddress
from espeer.p2p.addresses import (
    PeerAddress,
    Reach,
    concrete,
    parse_announced,
    parse_listen,
    parse_peer,
    parse_relay,
    reach_of,
    seen_from_outside,
    usable,
)

PEER = identity(1).peer_id
RELAY = identity(2).peer_id
ADDRESS = re.compile(r"/ip[46]/[^/\s]+/tcp/[0-9]+")


@pytest.mark.parametrize(
    "host", ["ip4/192.0.2.1", "ip6/2001:db8::1", "dns4/example.org", "dns6/example.org", "dns/example.org"]
)
def test_an_address_to_dial(host: str) -> None:
    text = f"/{host}/tcp/4001/p2p/{PEER}"
    assert parse_peer(text) == PeerAddress(PEER, f"/{host}/tcp/4001")
    assert str(parse_peer(text)) == text


def test_an_address_through_a_relay() -> None:
    text = f"/dns4/example.org/tcp/4001/p2p/{RELAY}/p2p-circuit/p2p/{PEER}"
    address = parse_peer(text)
    assert str(address) == text
    assert address.peer_id == PEER
    assert address.relay == PeerAddress(RELAY, "/dns4/example.org/tcp/4001")
    assert address.relay.relay is None
    assert address.relay.through(PEER) == address
    assert seen_from_outside(address, "192.0.2.9") == address
    assert parse_relay(str(address.relay)) == address.relay
    with pytest.raises(BadAddress, match="as a relay"):
        parse_relay(text)


@pytest.mark.parametrize(
    "way",
    ["/p2p-circuit", f"/p2p-circuit/p2p/{RELAY}/p2p-circuit/p2p/{PEER}", f"/p2p/{PEER}", f"/p2p-circuit/tcp/1/p2p/{PEER}"],
)
def test_no_other_way_leads_through_a_relay(way: str) -> None:
    with pytest.raises(BadAddress):
        parse_peer(f"/ip4/192.0.2.1/tcp/4001/p2p/{RELAY}{way}")


@pytest.mark.parametrize("text", ["/ip4/0.0.0.0/tcp/4001", "/ip6/::1/tcp/0"])
def test_an_address_to_listen_on(text: str) -> None:
    assert str(parse_listen(text)) == text


@given(st.text(max_size=60) | st.text(alphabet="/ip46tcdns.:0123456789", max_size=60))
@example("ip4/0.0.0.0/tcp/0")
@example("/ip4/0.0.0.0/tcp/0/")
@example("//ip4/0.0.0.0/tcp/0")
@example("/ip4/0.0.0.0/tcp/0\n")
@example("/ip4/0.0.0.0/tcp/ 1")
def test_anything_else_is_refused(text: str) -> None:
    assume(not ADDRESS.fullmatch(text))  # chance makes one now and then
    for parse in (parse_listen, parse_peer):
        with pytest.raises(BadAddress) as caught:
            parse(text)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["/ip4/198.51.100.4/tcp/4001", "/dns4/node.example.org/tcp/4001", "/ip6/2001:db8::1/tcp/1"])
def test_an_address_to_announce(text: str) -> None:
    assert str(parse_announced(text)) == text


@pytest.mark.parametrize(
    "text", ["", "/ip4/0.0.0.0/tcp/4001", "/ip6/::/tcp/4001", "/dns4/example.org/tcp/0", f"/ip4/192.0.2.1/tcp/1/p2p/{PEER}"]
)
def test_what_nobody_could_dial_is_not_announced(text: str) -> None:
    with pytest.raises(BadAddress, match="cannot announce"):
        parse_announced(text)


def test_all_interfaces_become_each_of_ours() -> None:
    hosts = {"ip4": ["192.0.2.2", "198.51.100.7"], "ip6": []}
    assert concrete(f"/ip4/0.0.0.0/tcp/1/p2p/{PEER}", hosts) == [
        f"/ip4/192.0.2.2/tcp/1/p2p/{PEER}",
        f"/ip4/198.51.100.7/tcp/1/p2p/{PEER}",
    ]
    assert concrete(f"/ip6/::/tcp/1/p2p/{PEER}", hosts) == [f"/ip6/::/tcp/1/p2p/{PEER}"]
    assert concrete(f"/ip4/127.0.0.1/tcp/1/p2p/{PEER}", hosts) == [f"/ip4/127.0.0.1/tcp/1/p2p/{PEER}"]


@pytest.mark.parametrize(
    ("host", "reach"),
    [
        ("127.8.8.8", Reach.MACHINE),
        ("0.0.0.0", Reach.MACHINE),
        ("::1", Reach.MACHINE),
        ("::ffff:127.0.0.1", Reach.MACHINE),
        ("224.0.0.1", Reach.MACHINE),
        ("169.254.169.254", Reach.LINK),
        ("fe80::1%eth0", Reach.LINK),
        ("10.1.2.3", Reach.SITE),
        ("100.64.0.1", Reach.SITE),
        ("fd00::1", Reach.SITE),
        ("9.9.9.9", Reach.ANYWHERE),
        ("2620:fe::9", Reach.ANYWHERE),
        ("example.org", Reach.ANYWHERE),
        (None, Reach.ANYWHERE),
    ],
)
def test_from_where_a_host_can_be_reached(host: str | None, reach: Reach) -> None:
    assert reach_of(host) is reach


def test_a_relayed_address_is_as_near_as_its_relay() -> None:
    assert parse_peer(f"/ip4/10.0.0.1/tcp/1/p2p/{RELAY}/p2p-circuit/p2p/{PEER}").reach is Reach.SITE


def test_what_we_cannot_dial_is_passed_over() -> None:
    good = f"/ip4/192.0.2.1/tcp/1/p2p/{PEER}"
    assert usable(["", "/ip4/192.0.2.1/udp/1/quic-v1", good, "x"]) == [parse_peer(good)]


def test_all_interfaces_become_the_one_we_see() -> None:
    everywhere = PeerAddress(PEER, "/ip4/0.0.0.0/tcp/1")
    assert seen_from_outside(everywhere, "192.0.2.9") == PeerAddress(PEER, "/ip4/192.0.2.9/tcp/1")
    assert seen_from_outside(PeerAddress(PEER, "/ip6/::/tcp/1"), "2001:db8::9") == PeerAddress(PEER, "/ip6/2001:db8::9/tcp/1")
    assert seen_from_outside(everywhere, None) is None
    somewhere = PeerAddress(PEER, "/ip4/192.0.2.1/tcp/1")
    assert seen_from_outside(somewhere, "192.0.2.9") == somewhere
