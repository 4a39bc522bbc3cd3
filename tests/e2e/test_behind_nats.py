"""Two nodes behind two NATs meet through a relay, in network namespaces."""

from pathlib import Path

import pytest
from namespaces import Namespaces
from processes import NodeProcess, Nodes, eventually

pytestmark = pytest.mark.e2e

RELAY = "203.0.113.1"


def learn(node: NodeProcess, code: str) -> str:
    """Have it learn something; return the experience's id."""
    node.ask("learn", text=f"{code} is shown by the pump.", feedback="Purge it.")
    node.ask("flush")
    (held,) = [held for held in node.ask("experiences") if code in held["text"]]
    return str(held["id"])


def relayed(node: NodeProcess) -> str | None:
    """The address that the node prints for others, once it is reached through a relay."""
    lines = [line.split()[-1] for line in node.said().splitlines() if line.startswith("  espeer node --bootstrap")]
    return next((line for line in lines if "/p2p-circuit/" in line), None)


def test_two_nodes_behind_two_nats_share_what_they_learn_over_a_relay(
    namespaces: Namespaces, nodes: Nodes, tmp_path: Path
) -> None:
    internet = namespaces.switch(f"{RELAY}/24")
    homes = [namespaces.home(internet, f"203.0.113.{number}/24") for number in (11, 12)]
    service = ("--relay-service", "--type", "ovens", "--listen", f"/ip4/{RELAY}/tcp/4001")
    relay = nodes.start(tmp_path / "relay", *service, inside=internet.command())
    at = relay.up()["addresses"][0]
    settings = ("--type", "pumps", "--listen", "/ip4/0.0.0.0/tcp/4001", "--relay", at, "--repair-interval", "1")
    a = nodes.start(tmp_path / "a", *settings, inside=homes[0].command())
    join = eventually("a slot at the relay", lambda: relayed(a))
    b = nodes.start(tmp_path / "b", *settings, "--bootstrap", join, inside=homes[1].command())

    first, second = learn(a, "K1"), learn(b, "K2")
    eventually("a's experience is at b", lambda: b.holds(first))
    eventually("b's experience is at a", lambda: a.holds(second))
    # Not by which address: what a tells of itself takes the place of what b has dialled, sooner or later.
    assert a.up()["peer_id"] in {peer["peer_id"] for peer in b.ask("peers")}
    counted = relay.up()["network"]
    assert counted["circuits"] >= 1
    assert counted["relayed"] > 0
    assert relay.ask("experiences") == []

    relay.kill()
    eventually("both are alone", lambda: a.up()["peers"] == b.up()["peers"] == 0 or None)
    third = learn(a, "K3")
    nodes.start(tmp_path / "relay", *service, inside=internet.command())
    eventually("they met again", lambda: b.holds(third))
    for node in (a, b):
        node.stop()
