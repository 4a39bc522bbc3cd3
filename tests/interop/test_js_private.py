"""A js-libp2p peer in a private network of ours: the key file, and the cipher, are those of the specification."""

from pathlib import Path

import pytest
from javascript import JsPeers
from processes import Nodes, eventually

pytestmark = pytest.mark.e2e

NETWORK = "lab"
TYPE = "pumps"


def key_file(path: Path, key: bytes) -> Path:
    path.write_text(f"/key/swarm/psk/1.0.0/\n/base16/\n{key.hex()}\n")
    path.chmod(0o600)
    return path


def test_records_go_both_ways_among_those_that_have_the_key(nodes: Nodes, peers: JsPeers, tmp_path: Path) -> None:
    ours, other = key_file(tmp_path / "ours", bytes(range(32))), key_file(tmp_path / "other", bytes(32))
    options = ("--network", NETWORK, "--type", TYPE, "--episode-size", "1", "--psk", ours)
    js = peers.start(NETWORK, TYPE, key_file=ours)
    node = nodes.start(tmp_path / "node", *options, "--bootstrap", js.address)
    address = node.up()["addresses"][0]
    for stranger in (peers.start(NETWORK, TYPE, key_file=other), peers.start(NETWORK, TYPE)):
        stranger.dial(address)
        stranger.wait("unreachable")
    while f"/espeer/1/{NETWORK}/{TYPE}" not in js.wait("subscribed", peer=node.up()["peer_id"])["topics"]:
        pass
    eventually("they are connected", lambda: [peer["peer_id"] for peer in node.ask("peers")] == [js.peer_id])
    (published,) = js.publish({"type": TYPE, "text": "K1: purge the pump."})["ids"]
    eventually("the JavaScript peer's record is here", lambda: node.holds(published))
    learnt = node.ask("learn", text="K2 is cured by a new fuse.", type=TYPE, wait=True)["experience"]
    js.wait("received", id=learnt)
