"""The acceptance test: what one node learns, another answers with, and goes on to when it is alone."""

from pathlib import Path
from typing import Any

import pytest
from processes import NodeProcess, Nodes, Said, espeer, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.model]

REPORT = "The Kestrel-3 labeller stops with J18 after every cold start."
CURE = "Setting the idler gap to 4 mm cured it."
QUESTION = "Our Kestrel-3 labeller shows J18. What should be done?"

TYPES = ("--type", "labellers", "--type", "ovens")


def start(nodes: Nodes, data: Path, *options: str, up: bool = True) -> NodeProcess:
    return nodes.start(data, "--threads", "1", *TYPES, *options, model=None, up=up)


def used_in(said: Said) -> list[tuple[str, str]]:
    """The id and the author of each experience that an answer rests on."""
    answer = said.json
    assert answer["answer"]
    return [(used["id"], used["author"]) for used in answer["experiences"]]


def linked(node: NodeProcess) -> dict[str, Any] | None:
    status = node.status()
    return status if status and status["peers"] else None


def test_what_one_node_learns_another_answers_with_even_when_it_is_alone(nodes: Nodes, tmp_path: Path) -> None:
    teacher = start(nodes, tmp_path / "A")
    teacher_id = teacher.up()["peer_id"]
    bootstrap = ("--bootstrap", teacher.up()["addresses"][0])
    second = start(nodes, tmp_path / "B", *bootstrap, up=False)
    third = start(nodes, tmp_path / "C", *bootstrap, up=False)
    for node in (second, third):
        node.up()
        eventually("it found its peers", lambda node=node: linked(node))

    learnt = espeer("learn", REPORT, "--feedback", CURE, "--wait", "--json", "--data", teacher.data).json
    this = learnt["experience"]
    expected = [(this, teacher_id)]
    for node in (second, third):
        held = eventually("the experience is there", lambda node=node: node.holds(this))
        assert held["author"] == teacher_id
        assert held["via"] in {"gossip", "sync"}
        assert {"J18", "Kestrel-3"} <= set(held["text"].replace(",", " ").replace(":", " ").split())

    assert used_in(espeer("ask", QUESTION, "--json", "--data", second.data)) == expected

    teacher.kill()  # nobody is left who could tell it again, but those who hold it
    second.kill()
    third_id = third.up()["peer_id"]
    third.stop()
    alone = start(nodes, third.data, *bootstrap)  # where it joined is dead
    assert (alone.up()["peer_id"], alone.up()["peers"]) == (third_id, 0)
    assert used_in(espeer("ask", QUESTION, "--json", "--data", alone.data)) == expected

    alone.stop()
    assert used_in(espeer("ask", QUESTION, "--offline", "--json", "--data", alone.data)) == expected
