"""A node as a process: how it starts, stops, and keeps what it was told; and how the command line speaks."""

import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from processes import (
    CLI_SECONDS,
    ESPEER,
    SLACK_SECONDS,
    STOP_SECONDS,
    NodeProcess,
    Nodes,
    Run,
    espeer,
    eventually,
    refusal,
    refused,
    run_all,
)

from espeer.folder import socket_path

pytestmark = pytest.mark.e2e


def learning(node: NodeProcess) -> bool:
    """Whether it has distilled something and is at the next."""
    status = node.ask("status")
    return bool(status["methods"]) and status["learning"] > 0


def codes_learnt(node: NodeProcess) -> set[str]:
    """The first word of all that it has learnt, when all is distilled."""
    node.ask("flush")
    return {held["text"].split()[0] for held in node.ask("experiences")}


def work_seconds(node: NodeProcess) -> float:
    """How long it has kept a core busy, whatever else the machine does: proc(5), utime and stime."""
    fields = Path(f"/proc/{node.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# -- starting and stopping


def test_a_signal_stops_a_node(nodes: Nodes, tmp_path: Path) -> None:
    first = nodes.start(tmp_path / "a")
    second = nodes.start(tmp_path / "b", "--bootstrap", first.up()["addresses"][0])
    eventually("they found each other", lambda: first.ask("peers"))
    second.stop(signal.SIGINT)
    eventually("the other one noticed", lambda: not first.ask("peers"))
    first.stop(signal.SIGTERM)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system does not tell of a process that ended")
def test_stopping_is_little_work(nodes: Nodes, tmp_path: Path) -> None:
    node = nodes.start(tmp_path / "d", "--http", "127.0.0.1:0")
    before = work_seconds(node)
    node.process.send_signal(signal.SIGINT)
    os.waitid(os.P_PID, node.process.pid, os.WEXITED | os.WNOWAIT)
    assert work_seconds(node) - before < 0.35  # 0.65 s where Python takes its objects apart one by one


@pytest.mark.model
def test_a_signal_stops_a_node_that_loads_its_model(nodes: Nodes, tmp_path: Path) -> None:
    node = nodes.start(tmp_path / "d", model=None, up=False)
    lock = tmp_path / "d" / "lock"
    eventually("it has begun", lambda: lock.exists() and lock.read_text())
    node.stop()


@pytest.mark.model
def test_a_signal_stops_a_node_that_distils_and_nothing_is_lost(nodes: Nodes, tmp_path: Path) -> None:
    codes = {f"X{number}" for number in range(8)}
    node = nodes.start(tmp_path / "d", "--episode-size", "1", model=None)
    for code in codes:
        node.ask("learn", text=f"{code} is shown by the oven door.", feedback=f"Turning the hinge by {code[1:]} mm cured it.")
    eventually("it is in the middle of it", lambda: learning(node))
    node.stop()
    again = nodes.start(tmp_path / "d")
    again.ask("flush")
    texts = " ".join(held["text"] for held in again.ask("experiences"))
    assert len(again.ask("experiences")) == len(codes)
    assert all(code in texts for code in codes)


@pytest.mark.model
def heeding_interrupts() -> None:
    """Undo what a shell does to what it runs in the background, and hands down to all that is started from there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_answer_can_be_broken_off_by_the_one_who_asks_and_by_a_signal_to_the_node(nodes: Nodes, tmp_path: Path) -> None:
    node = nodes.start(tmp_path / "d", "--answer-tokens", "1500", model=None)  # long enough to be broken off for sure
    command = [*ESPEER, "ask", "Tell me all about the history of the steam engine.", "--data", node.data]
    for target in ("asker", "node"):
        asking = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=heeding_interrupts,  # noqa: PLW1509 - no other thread here
        )
        assert asking.stdout is not None
        assert asking.stdout.read(1), "the answer is under way"
        if target == "asker":
            asking.send_signal(signal.SIGINT)
            _, err = asking.communicate(timeout=CLI_SECONDS)
            assert (asking.returncode, err) == (130, b"")
            # the model is free again: an answer would take it several seconds
            assert node.ask("status")["waiting"] == 0
        else:
            node.stop(signal.SIGTERM)
            _, err = asking.communicate(timeout=CLI_SECONDS)
            assert asking.returncode == 1
            assert err.startswith(b"espeer: the node ")
            assert err.count(b"\n") == 1


def test_a_second_signal_while_it_stops_loses_nothing(nodes: Nodes, tmp_path: Path) -> None:
    node = nodes.start(tmp_path / "d")
    node.ask("learn", text="K7 is shown by the pump.")
    node.process.send_signal(signal.SIGINT)
    eventually("it is stopping", lambda: not socket_path(node.data).exists())
    node.process.send_signal(signal.SIGINT)
    node.process.wait(STOP_SECONDS + SLACK_SECONDS)  # how it then ends depends on how far it was
    assert "Traceback" not in node.said()
    assert codes_learnt(nodes.start(tmp_path / "d")) == {"K7"}


# -- the data folder


def test_what_was_acknowledged_survives_a_kill_right_after_it_and_so_does_the_identity(nodes: Nodes, tmp_path: Path) -> None:
    told: set[str] = set()
    seen: set[str] = set()  # experiences
    peer_ids: set[str] = set()
    for round_ in range(6):
        node = nodes.start(tmp_path / "d")
        peer_ids.add(node.up()["peer_id"])
        assert codes_learnt(node) == told
        ids = {held["id"] for held in node.ask("experiences")}
        assert seen <= ids
        seen |= ids
        if round_ == 5:  # the last one only sees what the fifth left
            break
        code = f"K{round_}"
        said = espeer("learn", f"{code} is shown by the pump.", "--feedback", "Purge it.", "--json", "--data", node.data)
        node.kill()
        assert said.json["interaction"] == round_ + 1
        told.add(code)
    assert len(seen) == 5
    assert len(peer_ids) == 1


def test_what_was_acknowledged_survives_a_kill_among_many(nodes: Nodes, tmp_path: Path) -> None:
    """Tell it one thing after another until it is gone; whatever it had said yes to is there."""
    for round_ in range(3):
        node = nodes.start(tmp_path / "d", "--episode-size", "1")
        for number in range(30 + 10 * round_):
            node.ask("learn", text=f"R{round_}N{number} is shown by the pump.", feedback="Purge it.")
        node.kill()  # some of it is distilled, some is not
    assert "no node runs on" in refusal("status", "--data", node.data)
    node = nodes.start(tmp_path / "d")
    node.ask("flush")
    learnt = [held["text"].split()[0] for held in node.ask("experiences", limit=1000)]
    assert sorted(learnt) == sorted(f"R{round_}N{number}" for round_ in range(3) for number in range(30 + 10 * round_))


def test_an_answer_without_a_node_leaves_what_waits_to_the_node(nodes: Nodes, tmp_path: Path) -> None:
    """What waits is of a type that a node of the default types does not hold."""
    node = nodes.start(tmp_path / "d", "--type", "pumps")
    codes = {f"K{number}" for number in range(20)}
    for code in codes:
        node.ask("learn", text=f"{code} is shown by the pump.", feedback="Purge it.", type="pumps")
    node.stop()
    shutil.rmtree(node.data / "kv")
    assert espeer("ask", "What about K7?", "--offline", "--model", "fake", "--json", "--data", node.data).json
    assert not (node.data / "kv").exists()
    node = nodes.start(tmp_path / "d", "--type", "pumps")
    assert codes_learnt(node) == codes


def test_only_its_user_can_reach_it(nodes: Nodes, tmp_path: Path) -> None:
    before = os.umask(0)  # the friendliest there is
    try:
        started = [
            nodes.start(tmp_path / "d", up=False),
            nodes.start(tmp_path / ("d" * 150), up=False),  # a path too long for a socket
        ]
    finally:
        os.umask(before)
    for node in started:
        node.up()
        path = socket_path(node.data)
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(node.data.stat().st_mode) == 0o700
        assert stat.S_IMODE((node.data / "identity.key").stat().st_mode) == 0o600
        node.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder to another user takes root")
def test_a_socket_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    theirs = tmp_path / f"espeer-{os.getuid()}"
    theirs.mkdir()
    os.chown(theirs, 1234, 1234)
    line = refusal("node", "--model", "fake", "--data", tmp_path / ("d" * 150))
    assert "belongs to another user; choose another" in line


def test_a_second_node_on_the_same_folder_is_refused(nodes: Nodes, tmp_path: Path) -> None:
    node = nodes.start(tmp_path / "d")
    line = refusal("node", "--model", "fake", "--data", node.data)
    assert f"in use by process {node.process.pid}; stop that node or choose another --data" in line
    assert node.status(), "the first one goes on"


# -- the command line


def test_every_verb_can_print_one_line_of_json(nodes: Nodes, tmp_path: Path) -> None:
    node = nodes.start(tmp_path / "d", "--type", "pumps")

    def run(*lines: str) -> list[Any]:
        """Run command lines, beside each other; return what they printed."""
        said = run_all({line: Run([*line.split("|"), "--json", "--data", node.data]) for line in lines})
        assert all(one.err == "" for one in said.values()), said
        return [one.json for one in said.values()]

    status, id_, peers, listed = run("status", "id", "peers", "experiences|list")
    assert status["types"] == ["pumps"]
    assert id_ == {"peer_id": status["peer_id"], "addresses": status["addresses"]}
    assert (peers, listed) == ([], [])
    assert run("learn|The pump shows J18.") == [{"interaction": 1, "experience": None}]
    [learnt] = run("learn|Die Kärntner Säge „K7“ — zäh.\nZweite Zeile 🪚|--feedback|Öl.|--wait")
    lines = tmp_path / "lines"  # JSON lets the line separators of Unicode stand in a string as they are
    lines.write_text('{"text": "One\u2028leak."}\r\n\n{"text": "Two\u0085leaks."}\n', encoding="utf-8", newline="")
    [items] = run(f"learn|--file|{lines}|--wait")
    assert [item["interaction"] for item in items] == [3, 4]
    [found], two, shown, answer, plain, cut = run(
        "recall|Kärntner Säge K7",
        "experiences|list|--limit|2|--type|pumps",
        f"experiences|show|{learnt['experience'][:12]}",
        "ask|Was zeigt die Kärntner Säge K7?",
        "ask|Was zeigt die Kärntner Säge K7?|--recall|0",
        "ask|Was zeigt die Kärntner Säge K7?|--max-tokens|1|--temperature|0.5|--seed|7|--stop|zzz|--timeout|60",
    )
    assert (found["id"], found["author"]) == (learnt["experience"], status["peer_id"])
    assert "🪚" in found["text"]
    assert len(two) == 2
    assert (shown["id"], shown["state"], shown["via"]) == (found["id"], "active", "own")
    assert [used["id"] for used in answer["experiences"]] == [found["id"]]
    assert answer["type"] == "pumps"
    assert 0 <= answer["confidence"] <= 1
    assert plain["experiences"] == []
    assert (answer["finish"], cut["finish"], len(cut["answer"].split())) == ("stop", "length", 1)
    assert run(f"feedback|{answer['id']}|--good") == [{"interaction": answer["id"], "experience": None}]
    node.stop()
    [offline] = run("ask|Säge K7?|--offline|--model|fake")
    assert [used["id"] for used in offline["experiences"]] == [found["id"]]


def test_every_verb_says_something_to_a_person(nodes: Nodes, tmp_path: Path) -> None:
    node = nodes.start(tmp_path / "d")

    def run(**lines: Run) -> dict[str, str]:
        said = run_all({name: Run([*line.arguments, "--data", node.data], line.stdin) for name, line in lines.items()})
        assert all((one.code, one.err) == (0, "") for one in said.values()), said
        return {name: one.out for name, one in said.items()}

    said = run(learn=Run(["learn", "-"], b"The pump [red]shows[/] J18."), peers=Run(["peers"]), id=Run(["id"]))
    assert "noted 1" in said["learn"]
    assert "no peers" in said["peers"]
    assert said["id"].splitlines()[0] == node.up()["peer_id"]
    assert "learnt as" in run(learn=Run(["learn", "The lathe shows K7.", "--wait"]))["learn"]
    id_ = node.ask("recall", query="pump J18")[0]["id"]
    said = run(
        recall=Run(["recall", "pump J18"]),
        list=Run(["experiences", "list"]),
        show=Run(["experiences", "show", id_]),
        ask=Run(["ask", "-"], b"What is with the pump?\n"),
    )
    assert all("[red]shows[/] J18" in one for one in said.values()), said
    said = run(feedback=Run(["feedback", "3", "-"], b"Purge the line."), status=Run(["status"]))
    assert "noted" in said["feedback"]
    assert "2 active of general" in said["status"]


USAGE = [
    "bogus",
    "status --bogus",
    "status --bogus --debug",
    "node --bogus",
    "node --threads many",
    "node --data",
    "ask",
    "ask Why? two",
    "feedback seven",
    "feedback 7 --good=maybe",
    "recall Why? -k many",
    "experiences bogus",
]


def test_wrong_usage_exits_2_with_one_line() -> None:
    for said in run_all({line: Run(line.split()) for line in USAGE}).values():
        assert refused(said, code=2).endswith("; see `espeer --help`\n")


def test_help_and_version_are_no_errors() -> None:
    said = run_all({"help": Run(["--help"]), "node": Run(["node", "--help"]), "version": Run(["--version"])})
    assert all((one.code, one.err) == (0, "") for one in said.values()), said
    assert "Exit codes" in said["help"].out
    assert "--bootstrap" in said["node"].out
    assert said["version"].out[0].isdigit()


def test_an_error_has_a_traceback_only_with_debug(tmp_path: Path) -> None:
    line = refusal("status", "--data", tmp_path)
    said = espeer("--debug", "status", "--data", tmp_path)
    assert said.code == 1
    assert said.err.startswith("Traceback")
    assert said.err.endswith(line)


def test_a_reader_that_goes_away_is_no_drama(nodes: Nodes, tmp_path: Path) -> None:
    node = nodes.start(tmp_path / "d", "--episode-size", "1")
    for number in range(100):
        node.ask("learn", text=f"P{number} " + "y" * 4000)  # more than a pipe holds
    node.ask("flush")
    command = [*ESPEER, "experiences", "list", "--json", "--limit", "100", "--data", node.data]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert reader.stdout is not None
    assert reader.stderr is not None
    assert reader.stdout.read(1) == b"["
    reader.stdout.close()
    assert reader.stderr.read() == b""
    reader.stderr.close()
    assert reader.wait(CLI_SECONDS) == 1


# -- refining


def test_refining_from_the_command_line(nodes: Nodes, tmp_path: Path) -> None:
    data = tmp_path / "d"
    node = nodes.start(data, "--refine-threshold", "0.3")
    node.up()
    for text, cure in (
        ("The Orla-2 dryer stops with K11 after its lid was opened.", "Press the lid switch for 5 seconds."),
        ("Orla-2 dryer stopped and shows K11 after the lid was opened.", "Pressing its lid switch for 5 seconds helps."),
        ("The Tamsin-7 crane trips its breaker at night.", "Dry the silver plug."),
    ):
        node.ask("learn", text=text, feedback=cure, wait=True)
    at = ("--data", data)
    assert "nothing was changed" in espeer("refine", "--dry-run", *at).out
    (group,) = espeer("refine", "--dry-run", "--json", *at).json
    assert len(group["members"]) == 2
    assert "no runs yet" in espeer("refine", "--list", *at).out
    outcome = espeer("refine", "--json", *at).json
    assert (outcome["before"], outcome["after"]) == (3, 2)
    why = espeer("experiences", "why", group["members"][0][:12], *at).out
    assert "run 1: active → superseded" in why or "is active" in why
    node.kill()
    nodes.start(data).up()  # a condensate is on disk
    assert len(espeer("experiences", "list", "--json", *at).json) == 2
    assert "finished" in espeer("refine", "--list", *at).out
    assert "experiences as before: 2" in espeer("refine", "--undo", "1", *at).out
    assert len(espeer("experiences", "list", "--json", *at).json) == 3
    for line, arguments in (
        ("run 1 was undone already", ("--undo", "1")),
        ("there is no refinement run 7", ("--undo", "7")),
        ("give one of --dry-run, --list and --undo", ("--dry-run", "--list")),
        ("are for a run", ("--undo", "1", "--threshold", "0.5")),
        ("the threshold must be above 0", ("--threshold", "nan")),
        ("the threshold must be above 0", ("--threshold", "2")),
        ("give a threshold with the scale 'raw'", ("--scale", "raw")),
    ):
        assert line in refusal("refine", *arguments, *at)
    refusal("refine", "--scale", "cosine", *at, code=2)
    assert "no node runs" in refusal("refine", "--data", tmp_path / "nobody")
