"""Records by hand, with real nodes: retract, export, import, why, backup and restore."""

import json
import random
import stat
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from nacl.signing import SigningKey
from processes import ESPEER, NodeProcess, Nodes, espeer, eventually, refusal

from espeer import records
from espeer.errors import NodeNotRunning
from espeer.folder import store_path
from espeer.records import Experience
from espeer.store import Store
from espeer.transfer import fields, line

pytestmark = pytest.mark.e2e

MANY = 5_000
"""Records of the large import."""


def learnt(node: NodeProcess, text: str, **more: str) -> str:
    made: str = node.ask("learn", text=text, feedback="Purge the line.", wait=True, **more)["experience"]
    return made


def joined(nodes: Nodes, data: Path, other: NodeProcess, *options: str) -> NodeProcess:
    return nodes.start(data, "--bootstrap", other.up()["addresses"][0], "--repair-interval", "1", *options)


def state(node: NodeProcess, experience: str) -> str | None:
    held = node.holds(experience)
    return held["state"] if held else None


# -- retract


def test_what_is_retracted_goes_from_every_node_at_once_and_from_those_that_come_later(nodes: Nodes, tmp_path: Path) -> None:
    a = nodes.start(tmp_path / "a", "--repair-interval", "1000")  # gossip alone
    b = nodes.start(tmp_path / "b", "--bootstrap", a.up()["addresses"][0], "--repair-interval", "1000")
    eventually("they share a mesh", lambda: any(peer["mesh"] for peer in a.ask("peers")))
    gone, kept = learnt(a, "Pump P7 shows E42."), learnt(a, "Valve V1 drips.")
    eventually("b has both", lambda: b.holds(gone) and b.holds(kept))
    late = joined(nodes, tmp_path / "late", a)
    eventually("the late one has both", lambda: late.holds(gone) and late.holds(kept))
    late.kill()
    assert "only its author can retract it" in refusal("retract", gone, "--data", b.data)
    said = espeer("retract", gone[:10], "--data", a.data)
    assert said.out.startswith(f"retracted {gone[:12]}; "), said
    for node in (a, b):
        eventually("it is retracted", lambda node=node: state(node, gone) == "retracted")
        assert [hit["id"] for hit in node.ask("recall", query="P7 E42 V1 drips")] == [kept]
    assert "was retracted already" in refusal("retract", gone, "--data", a.data)
    again = joined(nodes, tmp_path / "late", b)  # was away, and hears of it by sync from who is not its author
    eventually("it is retracted there too", lambda: state(again, gone) == "retracted")
    new = joined(nodes, tmp_path / "new", b)
    eventually("a new one has what is left", lambda: new.holds(kept))
    assert state(new, gone) in {None, "retracted"}  # gossip passes on for some seconds what it passed on before
    assert [hit["id"] for hit in new.ask("recall", query="P7 E42 V1 drips")] == [kept]


# -- export and import


def test_records_keep_their_author_on_their_way_through_a_file(nodes: Nodes, tmp_path: Path) -> None:
    a = nodes.start(tmp_path / "a", "--type", "pumps", "--type", "valves")
    b = nodes.start(tmp_path / "b", "--type", "pumps")
    pump, _ = learnt(a, "Pump P7 shows E42.", type="pumps"), learnt(a, "Valve V1 drips.", type="valves")
    file = tmp_path / "all.jsonl"
    assert espeer("export", file, "--data", a.data).out == f"exported 2 records to {file}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "is there already" in refusal("export", file, "--data", a.data)
    piped = espeer("export", "--type", "pumps", "--data", a.data)
    assert [json.loads(text)["id"] for text in piped.out.splitlines()] == [pump]
    bent = json.loads(piped.out) | {"text": "Pump P7 shows nothing."}
    file.write_text(file.read_text() + "{\n" + json.dumps(bent) + "\n" + "x" * 100_000 + "\n")
    said = espeer("import", file, "--json", "--data", b.data).json
    assert {name: said[name] for name in ("new", "known", "refused", "not_held")} == {
        "new": 1,
        "known": 0,
        "refused": 4,
        "not_held": 1,
    }
    assert [refusal["line"] for refusal in said["refusals"]] == [2, 3, 4, 5]
    told = espeer("import", "-", "--data", b.data, stdin=file.read_bytes()).out
    assert told.splitlines()[0] == "0 records imported, 1 known already, 4 refused"
    assert "  line 4: its 'text' is not what the author signed" in told.splitlines()
    assert b.ask("experience", id=pump)["author"] == a.up()["peer_id"]
    of_no_use = espeer("import", "-", "--data", b.data, stdin=b"{\n")
    assert (of_no_use.code, of_no_use.out.splitlines()[0]) == (1, "0 records imported, 0 known already, 1 refused")
    assert "no node runs" in refusal("import", file, "--data", tmp_path / "none")
    assert "cannot read" in refusal("import", tmp_path / "none.jsonl", "--data", b.data)


def test_many_records_are_imported_in_bounded_memory_and_exported_again(nodes: Nodes, tmp_path: Path) -> None:
    key, file = SigningKey(bytes(range(32))), tmp_path / "many.jsonl"
    now = time.time_ns() // 1_000_000
    with file.open("w") as lines:
        for number in range(MANY):
            value = Experience(
                "general", f"Fault F{number}: purge line {number}.", now, bytes(key.verify_key), "m", "distilled"
            )
            lines.write(line(fields(records.sign(value, lambda digest: key.sign(digest).signature))))
    node = nodes.start(tmp_path / "a", "--no-refining")
    importing = subprocess.Popen([*ESPEER, "import", str(file), "--json", "--data", node.data], stdout=subprocess.PIPE)
    out, _ = importing.communicate(timeout=300)
    assert json.loads(out)["new"] == MANY
    assert espeer("import", file, "--json", "--data", node.data, seconds=300).json["known"] == MANY
    assert espeer("export", tmp_path / "again.jsonl", "--data", node.data).code == 0
    assert (tmp_path / "again.jsonl").read_bytes() == file.read_bytes()
    (found,) = node.ask("recall", query="F777", k=1)
    assert found["text"] == "Fault F777: purge line 777."


def test_records_over_http(nodes: Nodes, tmp_path: Path) -> None:
    a = nodes.start(tmp_path / "a", "--http", "127.0.0.1:0")
    b = nodes.start(tmp_path / "b", "--http", "127.0.0.1:0")
    experience = learnt(a, "Pump P7 shows E42.")
    url_a, url_b = (eventually("it says where", lambda node=node: address(node)) for node in (a, b))
    with httpx.Client(base_url=url_a) as from_a, httpx.Client(base_url=url_b) as from_b:
        got = from_a.get("/api/export", params={"own": "true"})
        assert got.headers["content-type"].startswith("application/x-ndjson")
        assert from_b.post("/api/import", content=got.content).json()["new"] == 1
        assert from_b.post("/api/import", content=got.content + b"{\n", params={"first": 7}).json() == {
            "new": 0,
            "known": 1,
            "refused": 1,
            "not_held": 0,
            "refusals": [{"line": 8, "reason": "not JSON"}],
        }
        assert from_b.post("/api/import", content=b"\xff").status_code == 400
        assert from_b.post("/api/import", content=b" " * (1024 * 1024 + 1)).status_code == 413
        assert from_a.get("/api/export", params={"type": "doors"}).status_code == 404
        assert from_b.post(f"/api/experiences/{experience[:8]}/retract").status_code == 400
        assert from_a.post(f"/api/experiences/{experience[:8]}/retract").json()["experience"] == experience
        assert from_a.get("/api/answers/1").status_code == 404
        answer = from_b.post("/api/ask", json={"question": "What of P7 E42?"}).json()
        given = from_b.get(f"/api/answers/{answer['id']}").json()
        assert [used["id"] for used in given["experiences"]] == [experience]


def address(node: NodeProcess) -> str | None:
    return next((text.split()[-1] for text in node.said().splitlines() if text.startswith("dashboard")), None)


# -- why


def test_an_answer_is_explained(nodes: Nodes, tmp_path: Path) -> None:
    node = nodes.start(tmp_path / "a")
    experience = learnt(node, "Pump P7 shows E42.")
    answer = espeer("ask", "What does P7 show?", "--json", "--data", node.data).json
    espeer("feedback", str(answer["id"]), "It shows E43 of late.", "--bad", "--data", node.data)
    node.ask("flush")
    said = espeer("why", str(answer["id"]), "--data", node.data)
    assert said.code == 0, said
    lines = said.out.splitlines()
    assert lines[1:4] == ["question: What does P7 show?", f"answer: {answer['answer']}", "feedback: bad: It shows E43 of late."]
    assert lines[4].startswith(f"used {experience[:12]} (active, learnt by …")
    assert lines[5].startswith("learnt from it ")
    shown = espeer("why", str(answer["id"]), "--json", "--data", node.data).json
    assert shown["experiences"][0]["id"] == experience
    for command in (("why",), ("experiences", "why")):
        assert espeer(*command, experience[:9] + "", "--data", node.data).out.startswith(f"{experience[:12]} is active")
    assert "there is no answer 99" in refusal("why", "99", "--data", node.data)
    assert "no experience has an id" in refusal("why", "0" * 12, "--data", node.data)


# -- backup and restore


def test_a_backup_under_load_has_all_that_was_acknowledged_and_the_restored_node_catches_up(
    nodes: Nodes, tmp_path: Path
) -> None:
    other = nodes.start(tmp_path / "other", "--repair-interval", "1")
    node = joined(nodes, tmp_path / "a", other, "--episode-size", "1")
    told: list[tuple[float, int]] = []

    def load() -> None:
        rng = random.Random(7)
        try:
            for number in range(100_000):
                text = f"Fault N{number} {rng.random()}."
                told.append((0.0, node.ask("learn", text=text, feedback="Purge it.")["interaction"]))
                told[-1] = (time.time(), told[-1][1])
        except NodeNotRunning:
            told.pop()  # killed before it said yes, or after: nobody knows

    loading = threading.Thread(target=load)
    loading.start()
    eventually("it is at work and remembers whom it met", lambda: len(told) > 50 and (node.data / "peers").exists())
    made = espeer("backup", tmp_path, "--json", "--data", node.data).json
    more = len(told)
    eventually("it learns on", lambda: len(told) > more + 50)
    file = Path(made["file"])
    node.kill()
    loading.join()
    assert file.stat().st_mode & 0o777 == 0o600
    before = [number for when, number in told if when and when * 1000 < made["created"]]
    assert len(before) >= 50
    said = espeer("restore", file, "--data", tmp_path / "b")
    assert said.code == 0, said
    assert "Never run two nodes with one identity" in said.out
    store = Store.open(store_path(tmp_path / "b"))
    assert store.row("PRAGMA integrity_check", ()) == ("ok",)
    assert all(store.interaction(number) for number in before)
    store.close()
    later = learnt(other, "Pump P7 shows E42.")
    again = nodes.start(tmp_path / "b", "--repair-interval", "1")  # whom it met is in the backup
    assert again.up()["peer_id"] == made["peer_id"]
    eventually("it joined and has what came later", lambda: again.holds(later))
    again.ask("flush")
    have = {held["id"] for held in again.ask("experiences", limit=100_000)}
    theirs: list[dict[str, Any]] = other.ask("experiences", limit=100_000)
    assert len(theirs) > 20
    eventually("it has what it had shared itself after the backup", lambda: all(again.holds(held["id"]) for held in theirs))
    assert have


def test_a_backup_without_a_node_and_what_is_refused(nodes: Nodes, tmp_path: Path) -> None:
    node = nodes.start(tmp_path / "a")
    experience = learnt(node, "Pump P7 shows E42.")
    node.stop()
    file = tmp_path / "b.tar"
    assert espeer("backup", file, "--data", node.data).code == 0
    assert "is there already" in refusal("backup", file, "--data", node.data)
    assert "is not empty" in refusal("restore", file, "--data", node.data)
    assert "no node's data" in refusal("backup", tmp_path / "c.tar", "--data", tmp_path / "none")
    cut = tmp_path / "cut.tar"
    cut.write_bytes(file.read_bytes()[:50_000])
    assert "damaged" in refusal("restore", cut, "--data", tmp_path / "b")
    assert not (tmp_path / "b").exists()
    assert espeer("restore", file, "--data", tmp_path / "b").code == 0
    assert nodes.start(tmp_path / "b").holds(experience)


def test_a_store_of_a_newer_espeer_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o700)
    store = Store.open(store_path(tmp_path / "a"))
    store.write("INSERT INTO _migrations VALUES (99, 'from the future')", ())
    store.close()
    assert "is of schema 99" in refusal("node", "--model", "fake", "--no-http", "--data", tmp_path / "a")
