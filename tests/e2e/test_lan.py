"""Nodes on one LAN find each other by multicast DNS, in network namespaces: nothing of it leaves them."""

import sys
from pathlib import Path

import pytest
from namespaces import Namespaces
from processes import NodeProcess, Nodes, eventually

from espeer.p2p.mdns import MAX_FOUND

pytestmark = pytest.mark.e2e

FLOOD = """
import os, socket
from espeer.p2p.addresses import PeerAddress
from espeer.p2p.beacon import answer, question
from espeer.p2p.identity import Identity
wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
wire.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("192.168.7.66"))
for _ in range(200):
    address = PeerAddress(Identity(os.urandom(32)).peer_id, "/ip4/192.168.7.66/tcp/1")
    elsewhere = PeerAddress(Identity(os.urandom(32)).peer_id, "/ip4/192.168.7.12/tcp/1")
    for message in (answer("n", "plant", "192.168.7.66", [address, elsewhere]), question(), os.urandom(1400), b""):
        wire.sendto(message, ("224.0.0.251", 5353))
"""
"""What a neighbour says: 200 nodes that are not there, and noise."""


def peers(node: NodeProcess) -> list[str]:
    return [peer["peer_id"] for peer in node.ask("peers")]


def test_nodes_of_one_network_find_each_other_on_a_lan_and_leave_others_alone(
    namespaces: Namespaces, nodes: Nodes, tmp_path: Path
) -> None:
    lan = namespaces.switch("192.168.7.1/24")
    started = {}
    for number, (name, network) in enumerate({"a": "plant", "stranger": "office", "b": "plant"}.items(), start=11):
        device = namespaces.make()
        namespaces.plug(device, "eth0", lan, f"192.168.7.{number}/24")
        settings = ("--mdns", "--network", network, "--listen", "/ip4/0.0.0.0/tcp/4001")
        started[name] = nodes.start(tmp_path / name, *settings, inside=device.command(), up=False)
    ids = {name: node.up()["peer_id"] for name, node in started.items()}
    a, b, stranger = started["a"], started["b"], started["stranger"]
    eventually("they found each other", lambda: (peers(a), peers(b)) == ([ids["b"]], [ids["a"]]))
    a.ask("learn", text="K1 is shown by the pump.", feedback="Purge it.")
    a.ask("flush")
    (held,) = a.ask("experiences")
    eventually("what a learnt is at b", lambda: b.holds(held["id"]))
    assert peers(stranger) == []

    neighbour = namespaces.make()
    namespaces.plug(neighbour, "eth0", lan, "192.168.7.66/24")
    neighbour.run(sys.executable, "-c", FLOOD)
    late = namespaces.make()
    namespaces.plug(late, "eth0", lan, "192.168.7.77/24")
    settings = ("--mdns", "--network", "plant", "--listen", "/ip4/0.0.0.0/tcp/4001")
    started["late"] = nodes.start(tmp_path / "late", *settings, inside=late.command())
    wanted = {ids["a"], ids["b"]}
    eventually("who comes after the flood finds them", lambda: set(peers(started["late"])) == wanted)
    assert len(a.logged("found on the LAN")) <= MAX_FOUND
    assert not stranger.logged("found on the LAN")
    for node in started.values():
        node.stop()
