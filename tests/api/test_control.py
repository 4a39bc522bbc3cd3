"""The control socket, over the socket."""

import json
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from espeer import Config, FakeModel, Node
from espeer.api import control
from espeer.api.client import request
from espeer.errors import NodeNotRunning, RemoteError
from espeer.folder import socket_path


@asynccontextmanager
async def serving(folder: Path, model: FakeModel | None = None) -> AsyncIterator[Node]:
    config = Config(data=folder, offline=True, episode_age=1e6)
    async with Node(config, model=model or FakeModel()) as node, trio.open_nursery() as nursery:
        await nursery.start(control.serve, node, socket_path(folder))
        yield node
        nursery.cancel_scope.cancel()


async def asked(folder: Path, verb: str, **params: Any) -> Any:
    return await trio.to_thread.run_sync(lambda: request(folder, verb, params))


async def raw(folder: Path, sent: bytes) -> dict[str, Any]:
    async with await trio.open_unix_socket(socket_path(folder)) as stream:
        await stream.send_all(sent)
        await stream.send_eof()
        received = b"".join([part async for part in stream])
    reply: dict[str, Any] = json.loads(received)
    return reply


async def test_learn_ask_and_look_through_the_socket(tmp_path: Path) -> None:
    async with serving(tmp_path) as node:
        learnt = await asked(tmp_path, "learn", text="Pump P7 shows E42.", feedback="Purge the line.", wait=True)
        pieces: list[str] = []
        answer = await trio.to_thread.run_sync(
            lambda: request(tmp_path, "ask", {"question": "P7 shows E42?"}, on_piece=pieces.append)
        )
        assert "".join(pieces).strip() == answer["answer"]
        assert [used["id"] for used in answer["experiences"]] == [learnt["experience"]]
        assert answer["experiences"][0]["author"] == node.identity.peer_id
        assert (await asked(tmp_path, "recall", query="E42"))[0]["id"] == learnt["experience"]
        assert (await asked(tmp_path, "experiences"))[0]["method"] == "extractive"
        assert (await asked(tmp_path, "experience", id=learnt["experience"][:8]))["state"] == "active"
        assert (await asked(tmp_path, "choose", question="E42?", choices=["a", "b"]))["index"] in (0, 1)
        assert (await asked(tmp_path, "feedback", answer=answer["id"], good=True))["experience"] is None
        assert await asked(tmp_path, "peers") == []
        status = await asked(tmp_path, "status")
        assert status["records"] == [{"type": "general", "state": "active", "records": 1}]
        assert status["method_rates"] == {"extractive": 1.0}


async def test_options_go_through_the_socket(tmp_path: Path) -> None:
    async with serving(tmp_path, FakeModel(lambda *_: "one two three four")):
        options = {"max_tokens": 3, "temperature": 1, "seed": 7, "stop": [" END"], "timeout": 60}
        answer = await asked(tmp_path, "ask", question="Count.", **options)
        assert (answer["answer"], answer["finish"]) == ("one two three", "length")
        assert (await asked(tmp_path, "ask", question="Count.", stop=["three"]))["finish"] == "stop"
        assert (await asked(tmp_path, "ask", question="Count.", stop=None, seed=None, timeout=None))["finish"] == "stop"
        assert set((await asked(tmp_path, "status"))["engine"]) == {"warmed"}


async def test_errors_of_the_node_come_back_as_one_line(tmp_path: Path) -> None:
    async with serving(tmp_path):
        with pytest.raises(RemoteError, match="the question is empty; give it some text"):
            await asked(tmp_path, "ask", question=" ")
        with pytest.raises(RemoteError, match="no experience has an id"):
            await asked(tmp_path, "experience", id="ff")


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [
        (b"\n", "one line of JSON"),
        (b"{\n", "one line of JSON"),
        (b"[" * 100_000 + b"\n", "one line of JSON"),
        (b"\xff\n", "one line of JSON"),
        (b'{"verb": "ask"}\n', "names a verb"),
        (b'{"verb": "__class__", "params": {}}\n', "names a verb"),
        (b'{"verb": "ask", "params": {"wrong": 1}}\n', "ask: "),
        (b'{"verb": "ask", "params": {"question": 7}}\n', "ask: question: input should be a valid string"),
        (b'{"verb": "ask", "params": {"question": "E42", "temperature": NaN}}\n', "temperature is nan; give 0"),
        (b'{"verb": "ask", "params": {"question": "E42", "stop": "E"}}\n', "ask: stop: input should be a valid list"),
        (b'{"verb": "ask", "params": {"question": "E42", "timeout": 0}}\n', "timeout is 0; give a number of seconds above 0"),
        (b'{"verb": "recall", "params": {"query": "E42", "k": true}}\n', "recall: k: input should be a valid integer"),
        (
            b'{"verb": "choose", "params": {"question": "E42", "choices": "ab"}}\n',
            "choose: choices: input should be a valid list",
        ),
        (b'{"verb": "ask", "params": {"question": " "}}\n and more\n', "the question is empty"),
        (b"x" * (control.MAX_REQUEST + 10), "at most 262144 bytes"),
        (b"", "one line of JSON"),
    ],
)
async def test_bad_requests_are_refused_and_the_node_lives_on(tmp_path: Path, sent: bytes, complaint: str) -> None:
    async with serving(tmp_path):
        assert complaint in (await raw(tmp_path, sent))["error"]
        assert (await asked(tmp_path, "status"))["model"] == "fake"


async def test_only_its_user_can_open_the_socket(tmp_path: Path) -> None:
    async with serving(tmp_path / "d"):
        path = socket_path(tmp_path / "d")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.exists()


async def test_a_socket_left_by_a_killed_node_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(socket_path(tmp_path)))
    async with serving(tmp_path):
        assert (await asked(tmp_path, "status"))["model"] == "fake"


async def test_no_node_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NodeNotRunning, match=f"no node runs on {tmp_path}; start one with"):
        await asked(tmp_path, "status")


async def test_a_client_that_goes_away_cancels_its_request(tmp_path: Path) -> None:
    async with serving(tmp_path, FakeModel(lambda *_: "word " * 1_000_000, context=4_000_000)) as node:
        stream = await trio.open_unix_socket(socket_path(tmp_path))
        await stream.send_all(b'{"verb": "ask", "params": {"question": "Talk."}}\n')
        await stream.receive_some(10)
        await stream.aclose()
        with trio.fail_after(10):
            await node.recall("the node is free")
            async with node.stream("Again?") as again:
                assert await anext(again)


async def test_refinement_through_the_socket(tmp_path: Path) -> None:
    async with serving(tmp_path) as node:
        for text in ("Pump P7 shows E42 when cold", "Pump P7 shows E42 on cold days"):
            await node.learn(text, feedback="Purge the line for 40 s.", wait=True)
        await node.learn("The crane trips its breaker at night", feedback="Dry the silver plug.", wait=True)
        (group,) = await asked(tmp_path, "preview_refinement", threshold=0.3)
        assert (group["type"], len(group["members"])) == ("general", 2)
        outcome = await asked(tmp_path, "refine", threshold=0.3, scale="normalised")
        assert (outcome["before"], outcome["after"]) == (3, 2)
        assert [run["id"] for run in await asked(tmp_path, "refinements")] == [outcome["run"]]
        why = await asked(tmp_path, "why", id=group["members"][0])
        assert "active" in (why["state"], why["by"] and why["by"]["state"])
        undone = await asked(tmp_path, "undo_refinement", run=outcome["run"])
        assert undone["restored"]
        for params, message in (
            ({"scale": "cosine"}, "scale: input should be 'normalised' or 'raw'"),
            ({"threshold": "high"}, "threshold: input should be a valid number"),
            ({"threshold": -1}, "threshold"),
            ({"threshold": 2}, "threshold"),
            ({"scale": "raw"}, "give a threshold"),
        ):
            with pytest.raises(RemoteError, match=message):
                await asked(tmp_path, "refine", **params)
