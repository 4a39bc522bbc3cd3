"""A js-libp2p peer and an espeer node that are reached through an espeer relay only."""

from pathlib import Path

import pytest
from javascript import JsPeers
from processes import Nodes, eventually

pytestmark = pytest.mark.e2e

NETWORK = "lab"
TYPE = "pumps"


def test_a_js_peer_is_reached_through_our_relay_and_records_go_both_ways(nodes: Nodes, peers: JsPeers, tmp_path: Path) -> None:
    relay = nodes.start(tmp_path / "relay", "--network", NETWORK, "--type", "ovens", "--relay-service")
    at: str = relay.up()["addresses"][0]
    js = peers.start(NETWORK, TYPE, at)
    assert js.address == f"{at}/p2p-circuit/p2p/{js.peer_id}"
    options = ("--network", NETWORK, "--type", TYPE, "--episode-size", "1", "--bootstrap", js.address)
    node = nodes.start(tmp_path / "node", *options)
    while f"/espeer/1/{NETWORK}/{TYPE}" not in js.wait("subscribed", peer=node.up()["peer_id"])["topics"]:
        pass
    eventually(
        "the node knows the JavaScript peer's topic",
        lambda: any(peer["peer_id"] == js.peer_id and peer["types"] == [TYPE] for peer in node.ask("peers")),
    )
    (published,) = js.publish({"type": TYPE, "text": "K1: purge the pump."})["ids"]
    eventually("the JavaScript peer's record is here", lambda: node.holds(published))
    learnt = node.ask("learn", text="K2 is cured by a new fuse.", type=TYPE, wait=True)["experience"]
    js.wait("received", id=learnt)
    counted = relay.up()["network"]
    assert counted["circuits"] >= 1
    assert counted["relayed"] > 0
