"""Private networks and invitations, as an operator has them."""

import subprocess
from pathlib import Path

import pytest
from processes import NodeProcess, Nodes, espeer, eventually, refusal

pytestmark = pytest.mark.e2e


def knows(node: NodeProcess, query: str) -> bool:
    return bool(node.ask("recall", query=query))


def test_a_ticket_is_all_the_other_side_types(nodes: Nodes, tmp_path: Path) -> None:
    a = nodes.start(tmp_path / "a", "--private", "--network", "plant", "--type", "pumps", "--episode-size", "1")
    said = espeer("invite", "--data", a.data)
    assert said.code == 0
    ticket = said.out.strip()
    assert said.out == f"{ticket}\n"
    assert "a secret" in said.err
    shown = espeer("invite", "--data", a.data, "--json").json
    assert shown["ticket"] == ticket
    assert (shown["network"], shown["private"], shown["types"], shown["local"]) == ("plant", True, ["pumps"], True)

    b = nodes.start(tmp_path / "b", "--join", ticket, "--episode-size", "1")
    a.ask("learn", text="The pump shows J18.", feedback="Purge the line.", wait=True)
    eventually("b knows what a learnt", lambda: knows(b, "pump J18"))

    stranger = nodes.start(tmp_path / "c", "--network", "plant", "--type", "pumps", "--bootstrap", shown["addresses"][0])
    eventually("it tried", lambda: stranger.logged("peer does not answer"))
    assert not knows(stranger, "pump J18")
    assert [peer["peer_id"] for peer in a.ask("peers")] == [b.up()["peer_id"]]

    # killed, and started again without the ticket
    b.kill()
    a.ask("learn", text="The pump shows K77.", feedback="Tighten the belt.", wait=True)
    b = nodes.start(tmp_path / "b", "--episode-size", "1")
    eventually("b is back in the network", lambda: knows(b, "pump K77"))
    assert b.up()["private"] is True

    for node in (a, b, stranger):
        assert ticket not in node.said()
        node.stop()
    line = refusal("node", "--data", tmp_path / "b", "--network", "main", "--model", "fake")
    assert "belongs to the network 'plant', not 'main'; choose another folder with --data" in line
    for name in ("a", "b"):
        assert (tmp_path / name / "membership").stat().st_mode & 0o777 == 0o600


def test_a_ticket_comes_by_standard_input(nodes: Nodes, tmp_path: Path) -> None:
    a = nodes.start(tmp_path / "a", "--episode-size", "1")
    said = espeer("invite", "--data", a.data)
    assert "a secret" not in said.err
    assert "only nodes on this machine reach this one" in said.err
    b = nodes.start(tmp_path / "b", "--join", "-", stdin=said.out.encode())
    peer = a.up()["peer_id"]
    eventually("they are connected", lambda: peer in [peer["peer_id"] for peer in b.ask("peers")])
    with subprocess.Popen(["ps", "-o", "args=", "-p", str(b.process.pid)], stdout=subprocess.PIPE) as ps:
        assert ps.stdout is not None
        assert said.out.strip() not in ps.stdout.read().decode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "this is not a ticket"),
        ("espeer1abc", "incomplete"),
        ("espeer9abc", "another version of espeer"),
        ("", "the ticket is empty"),
        ("-", "the ticket is empty"),  # what an `espeer invite` that fails sends through a pipe
    ],
)
def test_what_is_no_ticket(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal("node", "--data", tmp_path / "d", "--model", "fake", "--join", text)
    assert not (tmp_path / "d" / "membership").exists()


def test_inviting_wants_a_running_node(tmp_path: Path) -> None:
    assert "no node runs on" in refusal("invite", "--data", tmp_path / "none")
