"""A network of real processes that are killed."""

import socket
from pathlib import Path

import pytest
from processes import NodeProcess, Nodes, eventually

pytestmark = pytest.mark.e2e


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def meet(*nodes: NodeProcess) -> None:
    """Wait until they are all connected."""
    ids = {node.data: node.up()["peer_id"] for node in nodes}
    for node in nodes:
        others = set(ids.values()) - {ids[node.data]}
        eventually("they are connected", lambda: others <= {peer["peer_id"] for peer in node.ask("peers")})  # noqa: B023 - at once


def test_nodes_find_each_other_again_whatever_is_killed(nodes: Nodes, tmp_path: Path) -> None:
    listen = {name: f"/ip4/127.0.0.1/tcp/{free_port()}" for name in "abc"}
    a = nodes.start(tmp_path / "a", "--listen", listen["a"])
    (bootstrap,) = a.up()["addresses"]

    def start(name: str) -> NodeProcess:
        return nodes.start(tmp_path / name, "--listen", listen[name], "--bootstrap", bootstrap, "--episode-size", "1")

    b, c = start("b"), start("c")
    meet(a, b, c)

    a.kill()  # the others come back to it by themselves
    a = nodes.start(tmp_path / "a", "--listen", listen["a"])
    meet(a, b, c)

    for node in (a, b, c):  # a power cut, and a does not come back
        eventually("it remembers", (node.data / "peers").exists)
        node.kill()
    b, c = start("b"), start("c")
    meet(b, c)
    b.ask("learn", text="The pump shows J18.", feedback="Purge the line.", wait=True)
    eventually("c knows what b learnt", lambda: c.ask("recall", query="pump J18"))
