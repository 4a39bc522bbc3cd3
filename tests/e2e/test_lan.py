"""Nodes on one LAN find each other by multicast DNS, in network namespaces: nothing of it leaves them."""

from pathlib import Path

import pytest
from namespaces import Namespaces
from processes import NodeProcess, Nodes, eventually

pytestmark = pytest.mark.e2e


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
    assert not stranger.logged("found on the LAN")
    for node in started.values():
        node.stop()
