"""A js-libp2p peer is a peer like any other: it gets our records, and what it signs we keep and pass on."""

from functools import partial
from pathlib import Path

import pytest
from javascript import JsPeer, JsPeers
from processes import NodeProcess, Nodes, espeer, eventually

from espeer import records

pytestmark = pytest.mark.e2e

NETWORK = "lab"
TYPE = "pumps"
TOPIC = f"/espeer/1/{NETWORK}/{TYPE}"
OPTIONS = ("--network", NETWORK, "--type", TYPE, "--type", "valves", "--episode-size", "1")

BAD: dict[str, dict[str, object]] = {
    "a forged signature": {"type": TYPE, "forged": True},
    "a record of another type": {"type": "valves"},
    "a record from the future": {"type": TYPE, "created": records.MAX_CREATED_MS - 1},
    "a terminal's control sequence": {"type": TYPE, "text": "\x1b[2J"},
    "a text over the limit": {"type": TYPE, "text": "x" * (records.MAX_TEXT + 1)},
}


def start(nodes: Nodes, data: Path, *bootstrap: str) -> NodeProcess:
    return nodes.start(data, *OPTIONS, *(option for address in bootstrap for option in ("--bootstrap", address)))


def address(node: NodeProcess) -> str:
    found: str = node.up()["addresses"][0]
    return found


def meet(js: JsPeer, node: NodeProcess) -> None:
    """Wait until two that are being connected know each other's topics."""
    peer_id = node.up()["peer_id"]
    while TOPIC not in js.wait("subscribed", peer=peer_id)["topics"]:
        pass
    eventually(
        "the node knows the JavaScript peer's topic",
        lambda: any(peer["peer_id"] == js.peer_id and peer["types"] == [TYPE] for peer in node.ask("peers")),
    )


def learn(node: NodeProcess, text: str) -> str:
    """Have a node learn something; return the id of the experience."""
    learnt: str = node.ask("learn", text=text, type=TYPE, wait=True)["experience"]
    return learnt


def all_held(node: NodeProcess, ids: list[str]) -> bool:
    return all(node.holds(each) for each in ids)


def is_state(node: NodeProcess, experience: str, state: str) -> bool:
    held = node.holds(experience)
    return held is not None and held["state"] == state


def listed(node: NodeProcess) -> dict[str, tuple[str, str]]:
    """Text and author of the experiences that the command line lists, by id."""
    said = espeer("experiences", "list", "--json", "--data", node.data)
    return {held["id"]: (held["text"], held["author"]) for held in said.json}


def rejected(node: NodeProcess) -> int:
    count: int = node.up()["network"]["rejected"]
    return count


def test_records_travel_both_ways_and_on(nodes: Nodes, peers: JsPeers, tmp_path: Path) -> None:
    near = start(nodes, tmp_path / "near")
    far = start(nodes, tmp_path / "far", address(near))
    near_id, far_id = near.up()["peer_id"], far.up()["peer_id"]
    js = peers.start(NETWORK, TYPE)
    js.dial(address(near))
    identified = js.wait("identified", peer=near_id)
    assert [f"{listen}/p2p/{near_id}" for listen in identified["listen"]] == near.up()["addresses"]
    assert {"/meshsub/1.1.0", "/meshsub/1.0.0", "/ipfs/id/1.0.0", "/ipfs/ping/1.0.0"} <= set(identified["protocols"])
    assert any(name.startswith(f"/espeer/1/{NETWORK}/sync/") for name in identified["protocols"])
    meet(js, near)

    learnt = learn(far, "K7 is shown by the pump when its filter is blocked.")
    received = js.wait("received", id=learnt)
    assert records.peer_id(bytes.fromhex(received["author"])) == received["from"] == far_id
    assert listed(far)[learnt] == (received["text"], far_id)

    texts = ["K8: purge the line for 40 s at 4 °C.", "K9: 泵 must be primed 🚰 first.", "x" * records.MAX_TEXT]
    published = js.publish(*({"type": TYPE, "text": text} for text in texts))
    assert published["recipients"] == [near_id]
    for node in (near, far):
        eventually("it holds what was published", partial(all_held, node, published["ids"]))
        found = listed(node)
        assert [found[each] for each in published["ids"]] == [(text, js.peer_id) for text in texts]

    withdrawn, *kept = published["ids"]
    js.publish({"type": TYPE, "retracts": withdrawn}, {"type": TYPE, "retracts": learnt})  # it may retract its own only
    for node in (near, far):
        eventually("it is retracted", partial(is_state, node, withdrawn, "retracted"))
        assert all(is_state(node, each, "active") for each in (learnt, *kept))
    assert [peer["peer_id"] for peer in far.ask("peers")] == [near_id]
    assert rejected(near) == rejected(far) == 0


def test_what_is_invalid_is_neither_kept_nor_passed_on(nodes: Nodes, peers: JsPeers, tmp_path: Path) -> None:
    near = start(nodes, tmp_path / "near")
    far = start(nodes, tmp_path / "far", address(near))
    for number, (what, bad) in enumerate(BAD.items()):
        js = peers.start(NETWORK, TYPE)  # a new one each time: the node may have had enough of the last one
        js.dial(address(near))
        meet(js, near)
        good = {"type": TYPE, "text": f"K{number}: good, but in bad company."}
        assert js.publish(good, {"text": f"K{number}: bad."} | bad)["recipients"], what
        eventually(f"{what} is refused", lambda number=number: rejected(near) > number)
    learnt = learn(near, "Z9 is shown by the pump.")  # this would come after what was passed on
    eventually("the nodes gossip", lambda: far.holds(learnt))
    assert rejected(far) == 0
    assert [listed(node).keys() for node in (near, far)] == [{learnt}] * 2
    near.stop()


def test_a_node_that_is_killed_and_started_again_is_a_peer_again(nodes: Nodes, peers: JsPeers, tmp_path: Path) -> None:
    js = peers.start(NETWORK, TYPE)
    for round_ in ("first", "second"):
        node = start(nodes, tmp_path / "node", js.address)
        peer_id = node.up()["peer_id"]
        meet(js, node)
        learnt = learn(node, f"The {round_} K7 is shown by the pump.")
        assert js.wait("received", id=learnt)["from"] == peer_id
        published = js.publish({"type": TYPE, "text": f"The {round_} K8 is shown by the pump."})["ids"]
        eventually("it holds what was published", partial(all_held, node, published))
        node.kill()
        js.wait("disconnected", peer=peer_id)
    assert len(listed(start(nodes, tmp_path / "node"))) == 4
