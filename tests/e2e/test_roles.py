"""The paper's deployment, a server and its clients, as processes; and a type that only a peer holds."""

import signal
from pathlib import Path
from typing import Any

import pytest
from processes import NodeProcess, Nodes, Run, espeer, eventually, refused, run_all

pytestmark = pytest.mark.e2e


def linked(node: NodeProcess) -> Any:
    return eventually("it is connected", lambda: node.ask("peers"))


def drained(node: NodeProcess) -> bool:
    return node.ask("status")["queued"] == 0


def recalled(node: NodeProcess, query: str, **params: Any) -> Any:
    return eventually(f"{query} is recalled", lambda: node.ask("ask", question=query, **params)["experiences"])


def test_clients_learn_from_each_other_through_a_server_that_is_killed_meanwhile(nodes: Nodes, tmp_path: Path) -> None:
    serving = ("--role", "server", "--type", "pumps", "--type", "ovens")
    server = nodes.start(tmp_path / "server", *serving)
    (address,) = server.up()["addresses"]
    client = ("--role", "client", "--server", address, "--type", "pumps", "--type", "ovens")
    a, b = nodes.start(tmp_path / "a", *client), nodes.start(tmp_path / "b", *client)
    for node in (a, b):
        linked(node)

    first = a.ask("learn", text="Pump P7 shows E42 when cold.", feedback="Purge the line for 40 s.", type="pumps", wait=True)
    eventually("the server has it", lambda: drained(a))
    (used,) = recalled(b, "Pump P7 shows E42. What now?")
    assert used["id"] == first["experience"]
    assert used["author"] == a.up()["peer_id"]
    assert used["peer"] == server.up()["peer_id"]
    assert server.holds(first["experience"])["via"] == "submit"  # type: ignore[index]
    assert [row for node in (a, b) for row in node.ask("status")["records"]] == [], "clients hold nothing"
    assert [found["id"] for found in b.ask("recall", query="P7 E42", type="pumps")] == [first["experience"]]

    server.kill()
    for node in (a, b):
        eventually("it noticed", lambda node=node: not node.ask("peers"))
    said = run_all(
        {
            "ask": Run(["ask", "P7 shows E42 again, and now?", "--json", "--data", b.data]),
            "aloud": Run(["ask", "P7 shows E42 again, and now?", "--data", b.data]),
            "recall": Run(["recall", "E42 of P7", "--data", b.data]),
            "list": Run(["experiences", "list", "--data", b.data]),
            "refine": Run(["refine", "--data", b.data]),
        }
    )
    answer = said["ask"].json
    assert (answer["experiences"], answer["unreached"]) == ([], ["ovens", "pumps"])
    assert "nobody who holds ovens, pumps answered" in said["aloud"].out
    assert "nobody who holds ovens, pumps answers" in refused(said["recall"])
    for verb in ("list", "refine"):
        assert "is a client and holds no experiences" in refused(said[verb])
    assert len(b.logged("nobody who holds these types answers")) == 1

    texts = ["Oven O3 shows F9 at night.", "Oven O4 shows F8 at noon.", "Oven O5 shows F7 at dawn."]
    second = [a.ask("learn", text=text, feedback="Dry the plug.", type="ovens", wait=True)["experience"] for text in texts]
    assert a.ask("status")["queued"] == 3
    a.kill()
    a = nodes.start(tmp_path / "a", *client)
    assert a.up()["queued"] == 3

    server = nodes.start(tmp_path / "server", *serving, "--listen", address.split("/p2p/")[0])
    eventually("the queue is empty", lambda: drained(a))
    assert {held["id"] for held in server.ask("experiences")} == {first["experience"], *second}
    linked(b)
    assert second[0] in {used["id"] for used in recalled(b, "Oven O3 shows F9. What now?")}
    assert len(b.logged("answer again")) == 1
    for node in (a, b, server):
        node.stop()


def test_kills_on_either_side_in_the_middle_of_submissions_lose_and_double_nothing(nodes: Nodes, tmp_path: Path) -> None:
    server = nodes.start(tmp_path / "server", "--role", "server", "--no-refining")
    address = server.up()["addresses"][0]
    again = ("--role", "server", "--no-refining", "--listen", address.split("/p2p/")[0])
    client = nodes.start(tmp_path / "client", "--role", "client", "--server", address, "--episode-size", "1")
    linked(client)
    server.kill()
    texts = [f"Lathe L{number} shows F{number} at {number} turns." for number in range(300)]
    for text in texts:
        client.ask("learn", text=text)
    client.ask("flush")
    assert client.ask("status")["queued"] == len(texts)

    server = nodes.start(tmp_path / "server", *again)
    eventually("some are there", lambda: client.ask("status")["queued"] < len(texts))
    server.kill()
    client.kill()
    server = nodes.start(tmp_path / "server", *again)
    client = nodes.start(tmp_path / "client", "--role", "client", "--server", address)
    eventually("all are there", lambda: drained(client))
    assert sorted(held["text"] for held in server.ask("experiences", limit=1000)) == sorted(texts)


def test_a_server_that_hangs_is_waited_for_only_so_long(nodes: Nodes, tmp_path: Path) -> None:
    server = nodes.start(tmp_path / "server", "--role", "server")
    address = server.up()["addresses"][0]
    client = nodes.start(tmp_path / "client", "--role", "client", "--server", address, "--recall-seconds", "0.5")
    linked(client)
    server.process.send_signal(signal.SIGSTOP)
    try:
        answer = client.ask("ask", question="Pump P7 shows E42. What now?")
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert answer["unreached"] == ["general"]
    assert 500 <= answer["ttft_ms"] < 2000


def test_a_server_tells_its_peers_what_clients_submit(nodes: Nodes, tmp_path: Path) -> None:
    server = nodes.start(tmp_path / "server", "--role", "server")
    address = server.up()["addresses"][0]
    peer = nodes.start(tmp_path / "peer", "--bootstrap", address)
    client = nodes.start(tmp_path / "client", "--role", "client", "--server", address)
    linked(peer)
    learnt = client.ask("learn", text="Pump P7 shows E42 when cold.", wait=True)["experience"]
    held = eventually("the peer has it", lambda: peer.holds(learnt))
    assert held["via"] in {"gossip", "sync"}
    assert held["author"] == client.up()["peer_id"]


def test_a_type_that_only_a_peer_holds_is_recalled_from_it(nodes: Nodes, tmp_path: Path) -> None:
    b = nodes.start(tmp_path / "b", "--type", "ovens")
    address = b.up()["addresses"][0]
    a = nodes.start(tmp_path / "a", "--type", "pumps", "--bootstrap", address)
    curious = nodes.start(tmp_path / "c", "--type", "pumps", "--bootstrap", address, "--ask-peers")
    learnt = b.ask("learn", text="Oven O3 shows F9 at night.", feedback="Dry the plug.", wait=True)["experience"]
    for node in (a, curious):
        eventually("it knows what the peer holds", lambda node=node: "ovens" in str(node.ask("peers")))
    (used,) = recalled(a, "Oven O3 shows F9. What now?", type="ovens")
    assert (used["id"], used["peer"]) == (learnt, b.up()["peer_id"])
    assert a.ask("ask", question="Oven O3 shows F9. What now?")["experiences"] == [], "no question leaves unasked"
    assert [used["id"] for used in recalled(curious, "Oven O3 shows F9. What now?")] == [learnt]
    assert a.ask("status")["records"] == [], "what a peer tells is not stored"
    aloud = espeer("ask", "Oven O3 shows F9. What now?", "--type", "ovens", "--data", a.data).out
    assert f"told by …{b.up()['peer_id'][-8:]}" in aloud
    line = refused(espeer("ask", "Why?", "--type", "doors", "--data", a.data))
    assert "does not hold the type 'doors'; it holds pumps, and connected ones hold ovens" in line


ADDRESS = "/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--role client", "needs its server's address"),
        (f"--server {ADDRESS}", "give --role client with --server"),
        (f"--role client --server {ADDRESS} --bootstrap {ADDRESS}", "leave out bootstrap"),
        ("--role client --server nowhere", "cannot dial 'nowhere'"),
        (f"--role client --server {ADDRESS} --listen /ip4/127.0.0.1/tcp/4001", "leave out listen and announce"),
        (f"--role client --server {ADDRESS} --announce /dns4/node.example.org/tcp/4001", "leave out listen and announce"),
    ],
)
def test_roles_that_cannot_be_are_refused(arguments: str, said: str, tmp_path: Path) -> None:
    assert said in refused(espeer("node", "--model", "fake", "--data", tmp_path / "d", *arguments.split()))


def test_a_client_joins_a_private_network_by_the_servers_ticket_alone(nodes: Nodes, tmp_path: Path) -> None:
    server = nodes.start(tmp_path / "server", "--role", "server", "--private", "--type", "pumps")
    ticket = server.ask("invite")["ticket"]
    client = nodes.start(tmp_path / "client", "--role", "client", "--join", ticket)
    linked(client)
    learnt = client.ask("learn", text="Pump P7 shows E42 when cold.", wait=True)["experience"]
    eventually("the server has it", lambda: server.holds(learnt))
    client.stop()
    client = nodes.start(tmp_path / "client", "--role", "client")
    linked(client)
    assert [found["id"] for found in client.ask("recall", query="P7 E42")] == [learnt]


def test_a_peer_becomes_a_client_and_a_peer_again(nodes: Nodes, tmp_path: Path) -> None:
    server = nodes.start(tmp_path / "server", "--role", "server")
    bystander = nodes.start(tmp_path / "bystander", "--bootstrap", server.up()["addresses"][0])
    linked(bystander)
    node = nodes.start(tmp_path / "node", "--bootstrap", server.up()["addresses"][0])
    eventually("it met both", lambda: len(node.ask("peers")) == 2)
    node.stop()
    client = nodes.start(tmp_path / "node", "--role", "client", "--server", server.up()["addresses"][0])
    linked(client)
    assert [peer["peer_id"] for peer in client.ask("peers")] == [server.up()["peer_id"]], "it talks to its server alone"
    server.kill()
    eventually("it noticed", lambda: not client.ask("peers"))
    learnt = client.ask("learn", text="Pump P7 shows E42 when cold.", wait=True)["experience"]
    client.stop()
    again = nodes.start(tmp_path / "node", "--bootstrap", bystander.up()["addresses"][0])
    assert again.holds(learnt), "what waited for a server is its own now"
    eventually("others get it", lambda: bystander.holds(learnt))
