"""A node in a process of its own, asked by curl and by OpenAI's client."""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from processes import NodeProcess, Nodes, espeer, eventually, refused

pytestmark = pytest.mark.e2e

KEY = "correct-horse-battery-staple"
LESSON = "When the Kestrel-3 stops with J18 after a cold start, set the idler gap to 4 mm."
ASKED = [{"role": "user", "content": "The Kestrel-3 shows J18, what now?"}]
ANY_PORT = ("--http", "127.0.0.1:0", "--offline")


def url_of(node: NodeProcess) -> str:
    def found() -> str | None:
        match = re.search(r"dashboard and APIs: (http://\S+)/", node.said())
        return match and match[1]

    return eventually("the node tells its URL", found)


def curl(*arguments: str) -> str:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    return subprocess.run(["curl", "-sS", "-m", "60", *arguments], capture_output=True, text=True, check=True).stdout


@contextmanager
def client_of(node: NodeProcess, key: str = "none") -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url_of(node)}/v1", api_key=key, max_retries=0, timeout=120) as client:
        yield client


@contextmanager
def stream_open(url: str, path: str, *, body: bytes = b"") -> Iterator[socket.socket]:
    """A stream of events that began, and is not read on."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        method = "POST" if body else "GET"
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert b" 200 " in connection.recv(15)
        yield connection


def test_a_node_without_http_pays_nothing_for_it(tmp_path: Path) -> None:
    words = ["node", "--no-http", "--offline", "--model", "fake", "--data", str(tmp_path / "a")]
    command = [sys.executable, "-X", "importtime", "-m", "espeer", *words]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as process:
        assert process.stdout
        assert b"is up" in process.stdout.readline()
        process.terminate()
    imported = {line.rpartition("|")[2].strip() for line in (tmp_path / "log").read_text().splitlines()}
    assert "espeer.node" in imported
    assert imported & {"fastapi", "starlette"} == set()


def test_curl_is_answered(nodes: Nodes, tmp_path: Path) -> None:
    node = nodes.start(tmp_path / "a", *ANY_PORT)
    url = url_of(node)
    node.ask("learn", text=LESSON, wait=True)
    assert json.loads(curl(f"{url}/health")) == {"status": "ready"}
    post = ("-H", "Content-Type: application/json", f"{url}/v1/chat/completions", "-d")
    whole = json.loads(curl(*post, json.dumps({"messages": ASKED})))
    assert "J18" in whole["choices"][0]["message"]["content"]
    assert whole["espeer"]["experiences"][0]["text"] == LESSON
    lines = curl("-N", *post, json.dumps({"messages": ASKED, "stream": True})).splitlines()
    assert lines[-2:] == ["data: [DONE]", ""]
    assert json.loads(lines[-4].removeprefix("data: "))["espeer"]["experiences"] == whole["espeer"]["experiences"]
    assert "no model 'x'" in curl(f"{url}/v1/models/x")


def test_capture_can_be_left_out(nodes: Nodes, tmp_path: Path) -> None:
    node = nodes.start(tmp_path / "a", *ANY_PORT, "--no-capture")
    with client_of(node) as client:
        assert client.chat.completions.create(model="espeer", messages=ASKED).espeer["id"] is None  # type: ignore[attr-defined,arg-type]
    keeping = nodes.start(tmp_path / "b", *ANY_PORT)
    asked = ("ask", "Well?", "--data", tmp_path / "b", "--json")
    assert espeer(*asked, "--no-capture").json["id"] is None
    assert espeer(*asked).json["id"] == 1
    assert "not kept" in espeer("ask", "Well?", "--data", tmp_path / "b", "--no-capture").out
    keeping.stop()


def test_a_key_opens_the_door(nodes: Nodes, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    file.chmod(0o600)
    node = nodes.start(tmp_path / "a", *ANY_PORT, "--http-key-file", file)
    with client_of(node, KEY) as client:
        assert client.models.list().data[0].id == "fake"
    with client_of(node, KEY + "x") as client, pytest.raises(openai.AuthenticationError, match="this node asks for its key"):
        client.models.list()
    assert KEY not in node.said()


def test_others_cannot_reach_a_node_without_a_key(tmp_path: Path) -> None:
    for address in ("0.0.0.0:0", "[::]:0"):
        line = refused(espeer("node", "--data", tmp_path, "--model", "fake", "--http", address))
        assert "without a key; give --http-key-file" in line


def test_a_taken_port_is_told_before_the_model_is_loaded(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        began = time.monotonic()
        line = refused(espeer("node", "--data", tmp_path / "a", "--http", f"127.0.0.1:{port}", "--offline"))
        assert time.monotonic() - began < 20
    assert f"cannot listen for HTTP on 127.0.0.1:{port}" in line
    assert not (tmp_path / "a").exists()  # so no model was looked for either


def test_a_second_node_takes_the_next_port(nodes: Nodes, tmp_path: Path) -> None:
    first, second = (url_of(nodes.start(tmp_path / name, "--offline", http=True)) for name in "ab")
    assert first != second
    for url in (first, second):
        assert 7741 <= int(url.rpartition(":")[2]) <= 7741 + 19
        assert json.loads(curl(f"{url}/health")) == {"status": "ready"}


def test_a_node_stops_with_streams_open_that_nobody_reads(nodes: Nodes, tmp_path: Path) -> None:
    node = nodes.start(tmp_path / "a", *ANY_PORT, "--answer-tokens", "1500")
    url = url_of(node)
    said = "word " * 700  # the fake model quotes the sentence, and each word is sent in 300 bytes of JSON
    body = json.dumps({"messages": [{"role": "user", "content": f"{said}again\nSay word again."}], "stream": True}).encode()
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(stream_open(url, "/v1/chat/completions", body=body))
            stack.enter_context(stream_open(url, "/api/events"))
        node.stop()


@pytest.mark.model
def test_the_default_model_answers_with_what_was_learnt(nodes: Nodes, tmp_path: Path) -> None:
    node = nodes.start(tmp_path / "a", *ANY_PORT, model=None)
    learnt = node.ask(
        "learn",
        text="Kestrel-3 stops with J18 after a cold start.",
        feedback="Setting the idler gap to 4 mm cured it.",
        wait=True,
    )
    ours: dict[str, Any] = {"model": "espeer", "max_tokens": 40}
    with client_of(node) as client:
        whole: Any = client.chat.completions.create(messages=ASKED, **ours)
        *pieces, end, usage = client.chat.completions.create(
            messages=ASKED, stream=True, stream_options={"include_usage": True}, **ours
        )
        assert whole.model.startswith("smollm2")
        assert [used["id"] for used in whole.espeer["experiences"]] == [learnt["experience"]]
        assert end.espeer["experiences"][0]["id"] == learnt["experience"]
        assert "".join(piece.choices[0].delta.content for piece in pieces).strip() == whole.choices[0].message.content
        assert usage.usage == whole.usage
        assert 20 < usage.usage.prompt_tokens < 200
        assert 0 < usage.usage.completion_tokens <= 41
        assert 0 <= whole.espeer["confidence"] <= 1

        turns = [{"role": "system", "content": "Answer in one word."}, *ASKED, {"role": "assistant", "content": "Gap."}, *ASKED]
        longer: Any = client.chat.completions.create(messages=turns, **ours)
        assert longer.usage.prompt_tokens > whole.usage.prompt_tokens
        assert [used["id"] for used in longer.espeer["experiences"]] == [learnt["experience"]]

        schema = {
            "type": "object",
            "properties": {"gap_mm": {"type": "integer"}, "sure": {"type": "boolean"}},
            "required": ["gap_mm", "sure"],
            "additionalProperties": False,
        }
        formed: Any = client.chat.completions.create(
            messages=ASKED, response_format={"type": "json_schema", "json_schema": {"name": "gap", "schema": schema}}, **ours
        )
        said = json.loads(formed.choices[0].message.content)
        assert isinstance(said["gap_mm"], int)
        assert isinstance(said["sure"], bool)
        loose: Any = client.chat.completions.create(messages=ASKED, response_format={"type": "json_object"}, **ours)
        assert loose.choices[0].message.content.startswith("{")
        if loose.choices[0].finish_reason == "stop":
            assert isinstance(json.loads(loose.choices[0].message.content), dict)
    node.stop()
