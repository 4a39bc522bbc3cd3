"""A JavaScript peer that was written from docs/protocol.md gets by sync what a node has, and the node what the peer has."""

from pathlib import Path

import pytest
from javascript import JsPeers
from processes import Nodes, eventually

pytestmark = pytest.mark.e2e

NETWORK = "lab"
TYPE = "pumps"
OPTIONS = ("--network", NETWORK, "--type", TYPE, "--type", "valves", "--episode-size", "1", "--no-refining")
WHEN_TOLD = ("--repair-interval", "3600")  # it pulls when it is told to, and not by itself
COUNT = 100
"""Records of the node: it tells them by 16 fingerprints."""
ONE_PART = 1000
"""Bytes that tell the ids of one part and not of all."""


def test_what_one_side_lacks_it_gets_from_the_other(nodes: Nodes, peers: JsPeers, tmp_path: Path) -> None:
    node = nodes.start(tmp_path / "node", *OPTIONS, *WHEN_TOLD)
    (address,) = node.up()["addresses"]
    learnt = {
        node.ask("learn", text=f"K{number} is shown by the pump.", type=TYPE, wait=True)["experience"]
        for number in range(COUNT)
    }
    js = peers.start(NETWORK, TYPE, script="sync.mjs")
    js.say(pull=address)
    pulled = js.wait("pulled")
    assert set(pulled["ids"]) == learnt
    assert pulled["ahead"] == 0

    held = []
    for number in range(5):
        js.say(hold=f"Lamp {number} blinks when fuse F{number} is gone.")
        held.append(js.wait("held")["id"])
    js.say(pull=address)
    assert js.wait("pulled") == {"event": "pulled", "ids": [], "ahead": len(held)}
    eventually("the node has pulled in turn", lambda: all(node.holds(each) for each in held))
    assert 1 < js.wait("asked", question="reconcile", about=TYPE)["told"] < ONE_PART
    js.wait("asked", question="get", about=TYPE)
    js.say(pull=address)
    assert js.wait("pulled") == {"event": "pulled", "ids": [], "ahead": 0}
    network = node.up()["network"]
    assert (network["synced_in"], network["synced_out"], network["offences"]) == (len(held), COUNT, 0)
