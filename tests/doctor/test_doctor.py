"""`espeer doctor`: each fault, made here, is found; and nothing is changed by looking."""

import fcntl
import importlib.metadata
import importlib.util
import json
import os
import shutil
import socket
import sqlite3
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from espeer import Config, Node
from espeer.api import control
from espeer.cli.main import app
from espeer.doctor import clock, data, network, software
from espeer.doctor.examine import CHECKS, examine
from espeer.doctor.finding import Finding, Situation
from espeer.folder import identity_path, socket_path, store_path
from espeer.p2p.identity import load_or_create
from espeer.records import SignedRecord
from espeer.schema import MIGRATIONS
from espeer.settings import Service
from espeer.store import Store

Check = Callable[[Situation], Iterator[Finding]]
PEER = "/p2p/12D3KooWLyq9Ub2JHWsx9Qycfpz1NdbgVSWSnYLNhFHCb9v9uiMg"
STATUS: dict[str, Any] = {
    "peer_id": "12D3KooW",
    "version": importlib.metadata.version("espeer"),
    "addresses": ["/ip4/127.0.0.1/tcp/4001" + PEER],
    "network": {"sync_checks": 1},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with a store and an identity in it."""
    made = tmp_path / "data"
    made.mkdir(mode=0o700)
    Store.open(store_path(made)).close()
    load_or_create(identity_path(made))
    return made


def look(
    check: Check, folder: Path, *, now: int = 1_800_000_000_000, service: Service | None = None, **more: Any
) -> list[Finding]:
    known = {name: more.pop(name) for name in ("status", "peers", "network") if name in more}
    config = Config(data=folder, **more)
    return list(check(Situation(config=config, service=service or Service(), now_ms=now, **known)))


def worst(findings: Sequence[Finding]) -> Finding:
    """The worst of the findings, which must not be good."""
    found = max(findings, key=lambda one: ("ok", "warn", "fail").index(one.state))
    assert found.state != "ok", findings
    assert found.advice
    return found


def fine(findings: Sequence[Finding]) -> bool:
    return bool(findings) and {one.state for one in findings} == {"ok"}


def snapshot(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode)
        for path in folder.iterdir()
        if path.is_file()
    }


# -- the data folder


def test_a_folder_as_it_should_be(folder: Path) -> None:
    assert fine(look(data.folder, folder))
    assert fine(look(data.identity, folder))
    assert fine(look(data.store, folder))


def test_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert fine(look(data.folder, tmp_path / "a" / "b"))
    assert fine(look(data.identity, tmp_path / "a"))
    assert fine(look(data.store, tmp_path / "a"))
    assert not (tmp_path / "a").exists()


def test_a_folder_that_cannot_be(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    assert worst(look(data.folder, tmp_path / "file")).said.endswith("is not a folder")
    assert worst(look(data.folder, tmp_path / "file" / "below")).state == "fail"
    folder.chmod(0o755)
    assert worst(look(data.folder, folder)) == Finding(
        "data folder", "fail", f"others can enter {folder}", f"chmod 700 {folder}"
    )
    folder.chmod(0o700)
    with monkeypatch.context() as patched:
        patched.setattr(os, "access", lambda *_: False)
        assert worst(look(data.folder, folder)).said == f"{folder} cannot be written"
        assert "cannot be made in" in worst(look(data.folder, tmp_path / "new")).said
    with monkeypatch.context() as patched:
        patched.setattr(os, "getuid", lambda: 12345)
        assert worst(look(data.folder, folder)).said == f"{folder} belongs to another user"


@pytest.mark.parametrize(("free", "state"), [(10 * 1024**2, "fail"), (500 * 1024**2, "warn")])
def test_a_full_disk(folder: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - as shutil's
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, free))
    found = worst(look(data.folder, folder))
    assert (found.check, found.state) == ("disk", state)


def test_a_folder_that_somebody_holds_without_answering(folder: Path) -> None:
    (folder / "lock").write_text("4711")
    assert fine(look(data.folder, folder))
    with (folder / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = worst(look(data.folder, folder))
        assert (found.check, found.said) == ("in use", "process 4711 holds the folder, and does not answer")
        assert fine(look(data.folder, folder, status=STATUS))


def test_an_identity_that_is_damaged_or_open_to_others(folder: Path) -> None:
    path = identity_path(folder)
    path.chmod(0o644)
    assert "can be read by others" in worst(look(data.identity, folder)).said
    path.chmod(0o600)
    path.write_bytes(b"x" * 64)
    assert "damaged" in worst(look(data.identity, folder)).said


# -- the store


def test_stores_that_cannot_be_used(folder: Path) -> None:
    path = store_path(folder)
    sound = path.read_bytes()
    path.write_text("no database, but a text that is longer than a header of one would be" * 20)
    assert "cannot be read: file is not a database" in worst(look(data.store, folder)).said
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE t (a)")
    db.close()
    assert worst(look(data.store, folder)).said == f"{path} is not an espeer store"
    path.write_bytes(sound)
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO _migrations VALUES (?, 'later')", (len(MIGRATIONS) + 1,))
    db.close()
    assert worst(look(data.store, folder)).advice == "upgrade espeer"


def test_a_store_with_a_damaged_page(folder: Path, experience: Callable[..., SignedRecord]) -> None:
    store = Store.open(store_path(folder))
    for number in range(200):
        store.insert_record(experience(f"The pump shows E{number}." * 20), via="own", now_ms=number)
    store.close()
    assert fine(look(data.store, folder))
    page = 4096
    whole = bytearray(store_path(folder).read_bytes())
    for place in range(len(whole) // 2 // page * page, len(whole), page):
        whole[place : place + 100] = b"\xff" * 100
    store_path(folder).write_bytes(whole)
    found = worst(look(data.store, folder))
    assert found.state == "fail"
    assert "espeer restore" in found.advice


def test_a_store_that_takes_long_to_check_is_checked_in_part(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "_CHECK_SECONDS", -1.0)
    monkeypatch.setattr(data, "_STEPS", 1)
    assert "could be checked" in look(data.store, folder)[-1].said


# -- the model and the versions


def test_models(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fine(look(software.model, folder))
    assert worst(look(software.model, folder, model="fake")).state == "warn"
    assert "there is no model file" in worst(look(software.model, folder, model=str(tmp_path / "none.gguf"))).said
    (tmp_path / "bad.gguf").write_bytes(b"GGUF\x03\0\0\0" + b"\xff" * 4096)
    assert "cut off or damaged" in worst(look(software.model, folder, model=str(tmp_path / "bad.gguf"))).said
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert "was not fetched yet" in worst(look(software.model, folder, model="hf:a/b/c.gguf")).said
    monkeypatch.setattr(software, "_available", lambda: 1000)
    assert "of memory are free" in worst(look(software.model, folder)).said
    assert fine(look(software.model, folder, status=STATUS))  # it has its memory already
    monkeypatch.setattr(software, "memory", lambda: 1000)
    assert "more than this machine has memory" in worst(look(software.model, folder)).said


def test_versions(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fine(look(software.versions, folder))
    assert fine(look(software.versions, folder, status=STATUS))
    assert "is espeer 0.0.9" in worst(look(software.versions, folder, status=STATUS | {"version": "0.0.9"})).said
    usual = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.7.0" if name == "libp2p" else usual(name))
    assert worst(look(software.versions, folder)).advice == "pip install libp2p==0.8.1"

    def missing(name: str) -> str:
        if name == "llama-cpp-python":
            raise importlib.metadata.PackageNotFoundError
        return usual(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert worst(look(software.versions, folder)).said == "llama-cpp-python is not installed"


def test_an_inner_loop_that_was_not_compiled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert worst(look(software.compiled, folder)).state == "warn"


# -- the network


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that something listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed() -> Iterator[int]:
    """A port that nobody else gets, and nobody answers on."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def test_ports(folder: Path, taken: int) -> None:
    assert fine(look(network.listening, folder))
    address = f"/ip4/127.0.0.1/tcp/{taken}"
    assert "another program has it" in worst(look(network.listening, folder, listen=(address,))).said
    assert fine(look(network.listening, folder, listen=(address,), status=STATUS | {"addresses": [address + PEER]}))
    assert "no such address" in worst(look(network.listening, folder, listen=("/ip4/192.0.2.1/tcp/4001",))).said
    assert worst(look(network.listening, folder, listen=("/ip4/127.0.0.1/tcp/70000",))).said == "70000 is no port"
    assert fine(look(network.listening, folder, offline=True))


@pytest.mark.parametrize("setting", ["listen", "announce", "bootstrap", "servers", "relays", "allow", "deny"])
def test_what_is_no_address(folder: Path, setting: str) -> None:
    more = {"role": "client"} if setting == "servers" else {}
    found = worst(look(network.addresses, folder, **more, **{setting: ("0.0.0.0:4001",)}))
    assert (found.state, found.advice) == ("fail", f"mend the setting {setting}")
    assert "'0.0.0.0:4001'" in found.said
    assert look(network.addresses, folder, relays=("auto",), bootstrap=("/ip4/192.0.2.7/tcp/4001" + PEER,)) == []


def test_where_a_node_that_runs_can_be_reached_is_what_it_says(folder: Path) -> None:
    outside = {"addresses": ["/ip4/192.0.2.8/tcp/4001" + PEER]}
    assert "others can dial it" in look(network.reach, folder, status=STATUS | outside)[0].said


def test_a_node_that_others_cannot_dial(folder: Path) -> None:
    remote = ("/ip4/192.0.2.7/tcp/4001" + PEER,)
    assert "nobody can dial it" in worst(look(network.reach, folder, bootstrap=remote)).said
    assert fine(look(network.reach, folder, bootstrap=remote, relays=("auto",)))
    assert fine(look(network.reach, folder, bootstrap=remote, listen=("/ip4/0.0.0.0/tcp/4001",)))
    assert fine(look(network.reach, folder, bootstrap=("/ip4/127.0.0.1/tcp/4001" + PEER,)))


def test_an_announced_address_that_does_not_answer(folder: Path, taken: int, closed: int) -> None:
    shut = (f"/ip4/127.0.0.1/tcp/{closed}",)
    found = worst(look(network.reach, folder, announce=shut, status=STATUS))
    assert (found.check, "firewall" in found.advice) == ("announced address", True)
    assert fine(look(network.reach, folder, announce=(f"/dns4/localhost/tcp/{taken}",), status=STATUS))
    assert fine(look(network.reach, folder, announce=shut))  # no node runs: nothing can answer


def test_others_are_connected_to_only_if_asked(folder: Path, closed: int) -> None:
    others = (f"/ip4/127.0.0.1/tcp/{closed}{PEER}",)
    assert fine(look(network.reach, folder, bootstrap=others))
    assert worst(look(network.reach, folder, bootstrap=others, network=True)).check == "bootstrap"


def test_http(folder: Path, tmp_path: Path, taken: int, closed: int) -> None:
    def of(**settings: Any) -> Service:
        return Service(**settings)

    assert fine(look(network.http, folder))
    assert fine(look(network.http, folder, service=of(http="off")))
    assert fine(look(network.http, folder, service=of(http="127.0.0.1:0")))
    assert "another program has it" in worst(look(network.http, folder, service=of(http=f"127.0.0.1:{taken}"))).said
    assert fine(look(network.http, folder, service=of(http=f"127.0.0.1:{taken}"), status=STATUS))
    assert worst(look(network.http, folder, service=of(http=f"127.0.0.1:{closed}"), status=STATUS)).state == "warn"
    assert "without a key" in worst(look(network.http, folder, service=of(http="0.0.0.0:7741"))).said
    assert "cannot listen for HTTP on" in worst(look(network.http, folder, service=of(http="here"))).said
    assert "cannot read" in worst(look(network.http, folder, service=of(http_key_file=tmp_path / "none"))).said


def test_peers(folder: Path) -> None:
    named = ("/ip4/127.0.0.1/tcp/4001" + PEER,)
    assert look(network.peers, folder) == []
    assert fine(look(network.peers, folder, status=STATUS))
    assert worst(look(network.peers, folder, status=STATUS, bootstrap=named)).said == (
        "none, though there are 1 addresses to join by"
    )
    good, bad = {"peer_id": "good", "score": 0.0}, {"peer_id": "bad", "score": 60.0}
    assert fine(look(network.peers, folder, status=STATUS, peers=[good]))
    assert worst(look(network.peers, folder, status=STATUS, peers=[good, bad])).said == "bad break the protocol"
    unsynced = STATUS | {"network": {"sync_checks": 0}}
    assert "no replica was compared" in worst(look(network.peers, folder, status=unsynced, peers=[good])).said


# -- the clock


def test_a_clock_that_was_set_back(folder: Path, experience: Callable[..., SignedRecord], now: int) -> None:
    assert fine(look(clock.clock, folder))
    store = Store.open(store_path(folder))
    store.insert_record(experience("Purge the line."), via="own", now_ms=now)
    store.close()
    assert fine(look(clock.clock, folder, now=now))
    assert worst(look(clock.clock, folder, now=now - 5 * 60_000)).state == "warn"
    assert worst(look(clock.clock, folder, now=now - 3_600_000)).said.startswith("the clock was 60 minutes further")
    assert worst(look(clock.clock, folder, now=now - 3_600_000)).state == "fail"


@pytest.mark.parametrize(("minutes", "which"), [(-8, "8 minutes behind"), (90, "90 minutes ahead"), (0, "")])
def test_a_clock_that_differs_from_those_of_peers(
    folder: Path, experience: Callable[..., SignedRecord], now: int, minutes: int, which: str
) -> None:
    store = Store.open(store_path(folder))
    for number in range(5):
        created = now - number * 1000
        store.insert_record(
            experience(f"Lesson {number}.", created=created), via="gossip", now_ms=created + minutes * 60_000 + 500
        )
    store.close()
    findings = look(clock.clock, folder, now=now + 3_600_000 * 2)
    assert which in worst(findings).said if which else fine(findings)


@pytest.mark.parametrize(("script", "state"), [("echo no", "warn"), ("echo yes", "ok"), ("exit 1", None), ("sleep 60", None)])
def test_what_systemd_says(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, state: str | None
) -> None:
    program = tmp_path / "timedatectl"
    program.write_text(f"#!/bin/sh\n{script.replace('sleep', 'exec sleep')}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert [one.state for one in look(clock.synchronised, folder)] == ([state] if state else [])


# -- all of it


def test_it_changes_nothing(folder: Path, experience: Callable[..., SignedRecord]) -> None:
    store = Store.open(store_path(folder))
    store.insert_record(experience("Purge the line."), via="own", now_ms=1)
    for _ in range(2):  # with a write-ahead log, then without
        before = snapshot(folder)
        findings = examine(flags={"data": folder}, env={})
        assert [one for one in findings if one.state == "fail"] == []
        assert {name: state for name, state in snapshot(folder).items() if not name.endswith("-shm")} == {
            name: state for name, state in before.items() if not name.endswith("-shm")
        }
        store.close()


def test_a_check_that_hangs_holds_up_nothing() -> None:
    hanging = threading.Event()

    def hang(_: Situation) -> Iterator[Finding]:
        hanging.wait()
        yield Finding("disk", "ok", "")

    began = time.monotonic()
    findings = examine(env={}, checks={"disk": hang, "index": software.compiled}, seconds=0.3)
    assert time.monotonic() - began < 2
    hanging.set()
    assert [(one.check, one.state) for one in findings[1:]] == [("disk", "fail"), ("index", "ok")]
    assert "nothing came back" in findings[1].said


def test_settings_that_cannot_be_used_are_told_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("treads = 3\n")
    findings = examine(file=file, env={}, checks={"index": software.compiled})
    assert findings[0].said == f"{file}:1: treads is not a setting; did you mean threads?"
    assert [one.state for one in findings] == ["fail", "ok"]


def test_what_is_looked_at_are_the_flags_of_a_node(folder: Path, taken: int, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--listen", f"/ip4/127.0.0.1/tcp/{taken}", "--http", f"127.0.0.1:{taken}"]
    assert app.meta(["doctor", "--data", str(folder), *flags]) == 1
    assert capsys.readouterr().err == "espeer: something is wrong with: port, http\n"


async def test_with_a_node_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("espeer.doctor.examine._ASK_SECONDS", 30.0)  # the machine may be busy
    config = Config(data=tmp_path / "d", model="fake")
    async with Node(config) as node, trio.open_nursery() as nursery:
        await nursery.start(control.serve, node, socket_path(config.data))
        findings = await trio.to_thread.run_sync(
            lambda: examine(flags={"data": config.data}, env={"ESPEER_MODEL": "fake"}, seconds=60)
        )
        nursery.cancel_scope.cancel()
    states = {one.check: one.state for one in findings}
    assert "fail" not in states.values()
    assert {check: states[check] for check in ("in use", "peers", "store", "integrity", "versions")} == dict.fromkeys(
        ("in use", "peers", "store", "integrity", "versions"), "ok"
    )


def test_the_command_ends_with_1_where_something_fails(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert app.meta(["doctor", "--data", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"settings", "data folder", "store", "model", "versions", "port", "http"} <= {one["check"] for one in found}
    assert set(found[0]) == {"check", "state", "said", "advice"}
    folder.chmod(0o755)
    assert app.meta(["doctor", "--data", str(folder)]) == 1
    said = capsys.readouterr()
    assert f"fail  data folder: others can enter {folder} → chmod 700 {folder}" in said.out
    assert said.err == "espeer: something is wrong with: data folder\n"


def test_there_is_a_check_for_everything_that_the_help_names() -> None:
    assert set(CHECKS) == {
        *("data folder", "identity", "store", "model", "versions", "index"),
        *("addresses", "port", "reach", "http", "peers", "clock", "clock service"),
    }
