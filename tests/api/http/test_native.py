"""The native API, over HTTP."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from answering import answering
from sites import here

from espeer import FakeModel
from espeer.api import forms, verbs
from espeer.asking import MAX_COUNT
from espeer.lifecycle.refiner import Outcome, Proposal
from espeer.lifecycle.runs import Run, Step, Undone


def events(text: str) -> list[tuple[str, Any]]:
    """Server-Sent Events: their names and their data."""
    found = []
    for block in text.split("\n\n")[:-1]:
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def test_all_that_a_node_does(tmp_path: Path) -> None:
    async with here(tmp_path) as (node, client):

        async def post(path: str, **params: Any) -> Any:
            response = await client.post(f"/api/{path}", json=params)
            assert response.status_code == 200, response.text
            assert response.headers["cache-control"] == "no-store"
            return response.json()

        async def get(path: str) -> Any:
            return (await client.get(f"/api/{path}")).raise_for_status().json()

        learnt = await post("learn", text="Pump P7 shows E42.", feedback="Purge the line.", wait=True)
        answer = await post("ask", question="P7 shows E42?")
        assert [used["id"] for used in answer["experiences"]] == [learnt["experience"]]
        assert (await post("feedback", answer=answer["id"], good=True)) == {"interaction": answer["id"], "experience": None}
        assert (await post("choose", question="E42?", choices=["a", "b"]))["index"] in (0, 1)
        (hit,) = await post("recall", query="E42", k=1)
        assert (hit["author"], hit["method"]) == (node.identity.peer_id, "extractive")

        assert [held["id"] for held in await get("experiences?type=general&limit=5")] == [hit["id"]]
        held = await get(f"experiences/{hit['id'][:8]}")
        assert (held["state"], held["via"], held["by"]) == ("active", "own", None)
        assert (await get(f"experiences/{hit['id'][:8].upper()}/why"))["stands_for"] == []

        assert (await post("learn", text="Pump P7 shows E42 on cold days.", feedback="Purge it."))["experience"] is None
        assert (await get("status"))["learning"]
        flushed = await client.post("/api/flush")
        assert (flushed.status_code, flushed.headers.get("content-type")) == (204, None)
        assert not (await get("status"))["learning"]
        (group,) = await post("refine/preview", threshold=0.2)
        assert len(group["members"]) == 2
        outcome = await post("refine", threshold=0.2, scale="normalised")
        assert (outcome["before"], outcome["after"]) == (2, 1)
        assert [run["id"] for run in await get("refinements?limit=1")] == [outcome["run"]]
        assert (await post(f"refinements/{outcome['run']}/undo"))["restored"]
        assert await get("peers") == []


async def test_over_http_the_same_is_told_as_over_the_socket_in_the_same_order(tmp_path: Path) -> None:
    async with here(tmp_path) as (node, client):
        learnt = await node.learn("Pump P7 shows E42.", feedback="Purge the line.", wait=True)
        assert learnt.experience is not None
        await node.refine()
        for path, verb in {
            "status": verbs.Status(),
            "experiences": verbs.Experiences(),
            f"experiences/{learnt.experience}": verbs.Experience(id=learnt.experience),
            f"experiences/{learnt.experience}/why": verbs.Why(id=learnt.experience),
            "refinements": verbs.Refinements(),
        }.items():
            told = await verb.do(node)
            assert (await client.get(f"/api/{path}")).text == json.dumps(told, separators=(",", ":"))


@pytest.mark.parametrize(
    ("form", "shown"),
    [(forms.Outcome, Outcome), (forms.Proposal, Proposal), (forms.Run, Run), (forms.Undone, Undone), (forms.Step, Step)],
)
def test_what_is_shown_as_it_is_is_described(form: type, shown: type) -> None:
    assert list(form.__annotations__) == [field.name for field in fields(shown)]


async def test_a_freed_experience_is_shown_without_its_text(tmp_path: Path) -> None:
    async with here(tmp_path) as (node, client):
        learnt = await node.learn("Pump P7 shows E42.", feedback="Purge the line.", wait=True)
        await node.learn("The crane trips at night.", feedback="Dry the plug.", wait=True)
        node._parts.here.refiner.runs.evict(
            node._parts.here.refiner.runs.begin("asked", scale="raw", threshold=9).id, [learnt.experience]
        )
        for path in ("", "/why"):
            shown = (await client.get(f"/api/experiences/{learnt.experience}{path}")).raise_for_status().json()
            assert (shown["text"], shown["state"]) == (None, "evicted")
            assert "author" not in shown


# -- streams


async def test_an_answer_comes_in_pieces(tmp_path: Path) -> None:
    async with here(tmp_path, FakeModel(lambda *_: "One two\nthree.")) as (_, client):
        response = await client.post("/api/ask", json={"question": "Count.", "stream": True})
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-store"
        *pieces, (name, answer) = events(response.text)
        assert {name for name, _ in pieces} == {"piece"}
        assert len(pieces) == 3
        assert name == "answer"
        assert "".join(piece for _, piece in pieces) == answer["answer"] == "One two\nthree."


async def test_what_fails_before_the_first_piece_has_its_status(tmp_path: Path) -> None:
    async with here(tmp_path) as (_, client):
        response = await client.post("/api/ask", json={"question": " ", "stream": True})
        assert response.status_code == 400
        assert response.json()["error"]["message"] == "the question is empty; give it some text"


async def test_what_fails_later_ends_the_stream_with_an_error(tmp_path: Path) -> None:
    async with here(tmp_path, FakeModel(lambda *_: "word " * 100_000, context=400_000)) as (node, client):
        async with client.stream("POST", "/api/ask", json={"question": "Talk.", "stream": True}) as response:
            told = ""
            async for part in response.aiter_text():
                if not told:
                    node._parts.engine.model.close()
                told += part
        name, error = events(told)[-1]
        assert (name, error["error"]["type"]) == ("error", "ModelError")


async def test_a_client_that_goes_away_stops_its_answer(tmp_path: Path) -> None:
    async with here(tmp_path, FakeModel(lambda *_: "word " * 1_000_000, context=4_000_000)) as (node, client):
        asked = b'{"question": "Talk.", "stream": true}'
        lines = ("POST /api/ask HTTP/1.1", "host: localhost", "content-type: application/json", f"content-length: {len(asked)}")
        async with await trio.open_tcp_stream("127.0.0.1", client.base_url.port or 0) as stream:
            await stream.send_all("\r\n".join([*lines, "", ""]).encode() + asked)
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
        with trio.fail_after(10):
            async with node.stream("Again?") as again:
                assert await anext(again)


# -- what is refused


async def refusal(client: httpx.AsyncClient, path: str, **request: Any) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"} if request else {}
    response = await client.request("POST" if request else "GET", f"/api/{path}", headers=headers, **request)
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert set(response.json()) == {"error"}
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    return response.status_code, response.json()["error"]


BEYOND = 2**63
REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("ask", {"json": {}}, 422, "question: Field required"),
    ("ask", {"json": {"question": 7}}, 422, "question: Input should be a valid string"),
    ("ask", {"json": {"question": "E42", "wrong": 1}}, 422, "wrong: Extra inputs are not permitted"),
    ("ask", {"json": {"question": "E42", "recall": BEYOND}}, 400, f"recall is {BEYOND}; give 0 to 1,000,000"),
    ("ask", {"json": {"question": "E42", "max_tokens": BEYOND}}, 400, f"max-tokens is {BEYOND}"),
    ("ask", {"json": {"question": "E42", "seed": BEYOND}}, 400, f"seed is {BEYOND}"),
    ("ask", {"json": {"question": "E42", "type": "ovens"}}, 400, "this node does not hold the type 'ovens'"),
    ("ask", {"json": {"question": "x" * 40_000}}, 400, "the question is too long"),
    ("ask", {"json": {"question": "Why is it so? " * 580}}, 400, "does not fit the model's context"),
    ("ask", {"json": {"question": "E42", "timeout": 1e-300}}, 504, "did not begin to answer within"),
    ("ask", {"content": '{"question": "E42", "temperature": NaN}'}, 400, "temperature is nan"),
    ("ask", {"content": '{"question": "E42", "temperature": 1e999}'}, 400, "temperature is inf"),
    ("ask", {"content": '{"question": "E42", "temperature": 1' + "0" * 400 + "}"}, 422, "temperature: "),
    ("ask", {"content": '{"question": "E42", "seed": 1' + "0" * 5000 + "}"}, 400, "parsing the body"),
    ("ask", {"content": '{"question": "\\ud800"}'}, 400, "the question is empty"),
    ("ask", {"content": '{"question": "E42", "\\ud800": 1}'}, 422, "unable to parse raw data as a unicode string"),
    ("ask", {"content": "{"}, 422, "body: JSON decode error"),
    ("ask", {"content": b"\xff"}, 400, "parsing the body"),
    ("ask", {"content": "[" * 100_000}, 400, "parsing the body"),
    ("ask", {"content": "question=E42"}, 422, "body: "),
    ("choose", {"json": {"question": "E42?", "choices": ["a"]}}, 400, "give 2 to 26 choices"),
    ("learn", {"json": {"text": "So.", "feedback": "x" * 9000}}, 400, "the feedback is too long"),
    ("feedback", {"json": {"answer": 1}}, 400, "give the feedback a text"),
    ("feedback", {"json": {"answer": BEYOND, "good": True}}, 404, "there is no answer"),
    ("recall", {"json": {"query": "E42", "k": BEYOND}}, 400, f"k is {BEYOND}; give 1 to 1,000,000"),
    ("recall", {"json": {"query": "E42", "k": True}}, 422, "k: Input should be a valid integer"),
    ("refine", {"json": {"scale": "raw"}}, 400, "give a threshold"),
    ("refine/preview", {"json": {"scale": "cosine"}}, 422, "scale: "),
    (f"refinements/{BEYOND}/undo", {"json": None}, 404, "there is no refinement run"),
    (f"refinements/{'9' * 5000}/undo", {"json": None}, 422, "run: "),
    ("refinements/one/undo", {"json": None}, 422, "run: "),
    (f"refinements?limit={BEYOND}", {}, 400, f"limit is {BEYOND}"),
    ("refinements?limit=0", {}, 400, "limit is 0; give 1 to 1,000,000"),
    ("experiences?limit=-1", {}, 400, "limit is -1"),
    ("experiences?limit=many", {}, 422, "limit: Input should be a valid integer"),
    ("experiences?type=ovens", {}, 400, "this node does not hold the type 'ovens'"),
    ("experiences/zz", {}, 404, "no experience has an id that begins with 'zz'"),
    ("experiences/%00%ff/why", {}, 404, "no experience has an id"),
    ("nothing", {}, 404, "Not Found"),
    ("status", {"json": {}}, 405, "Method Not Allowed"),
    ("invite", {"json": None}, 400, "it is offline"),
]


async def test_what_cannot_be_is_refused_in_one_form_and_the_node_lives_on(tmp_path: Path) -> None:
    async with here(tmp_path) as (_, client):
        for path, request, status, message in REFUSED:
            found, error = await refusal(client, path, **request)
            assert (found, message in error["message"]) == (status, True), (path[:50], str(request)[:100], found, error)
            assert len(error["message"]) < 500
        assert (await client.get("/api/status")).is_success


@pytest.mark.parametrize("path", ["/api/ask", "/v1/chat/completions"])
async def test_who_forgets_to_say_that_it_is_json_is_told(tmp_path: Path, path: str) -> None:
    async with here(tmp_path) as (_, client):
        form = {"Content-Type": "application/x-www-form-urlencoded"}  # as `curl -d` sends it
        response = await client.post(path, content=b'{"question": "E42?"}', headers=form)
        assert response.status_code in (400, 422)
        assert response.json()["error"]["message"] == "body: give it as JSON, with the header Content-Type: application/json"


async def test_no_cache_keeps_what_is_answered(tmp_path: Path) -> None:
    async with here(tmp_path) as (_, client):
        for path in ("/health", "/api/status", "/api/nothing", "/v1/models", "/v1/models/none", "/openapi.json"):
            assert (await client.get(path)).headers["cache-control"] == "no-store"
        refused = await client.get("/api/status", headers={"host": "example.org"})
        assert (refused.status_code, refused.headers["cache-control"]) == (421, "no-store")


async def test_a_whole_number_may_be_written_with_a_point(tmp_path: Path) -> None:
    async with here(tmp_path) as (_, client):
        assert (await client.post("/api/recall", json={"query": "E42", "k": 5.0})).json() == []
        assert (await client.post("/api/recall", json={"query": "E42", "k": 5.5})).status_code == 422


SERVER = "/ip4/127.0.0.1/tcp/9/p2p/12D3KooWLyq9Ub2JHWsx9Qycfpz1NdbgVSWSnYLNhFHCb9v9uiMg"


async def test_a_client_says_that_it_holds_nothing(tmp_path: Path) -> None:
    async with here(tmp_path, offline=False, role="client", servers=(SERVER,)) as (_, client):
        for path, request in (
            ("experiences", {}),
            ("experiences/ab", {}),
            ("experiences/ab/why", {}),
            ("refinements", {}),
            ("refine", {"json": {}}),
            ("refine/preview", {"json": {}}),
            ("refinements/1/undo", {"json": None}),
            ("experiences/ab/retract", {"json": None}),
            ("export", {}),
        ):
            status, error = await refusal(client, path, **request)
            assert (status, error["type"]) == (400, "InputError")
            assert error["message"] == "this node is a client and holds no experiences; ask its server for this"
        assert (await client.get("/api/status")).json()["role"] == "client"
        assert (await refusal(client, "recall", json={"query": "E42"}))[0] == 502


# -- HTTP


async def test_head_is_get_without_the_body(tmp_path: Path) -> None:
    async with here(tmp_path) as (_, client):
        for path in ("/health", "/api/status", "/api/experiences", "/openapi.json", "/api/nothing"):
            got, head = await client.get(path), await client.head(path)
            assert (head.status_code, head.content) == (got.status_code, b"")
            assert {**head.headers, "date": ""} == {**got.headers, "date": ""}
        assert (await client.head("/api/learn")).status_code == 405
        assert (await client.head("/api/learn")).headers["allow"] == "POST"


@pytest.mark.parametrize("verb", [verbs.Recall(query="E42", k=MAX_COUNT), verbs.Experiences(limit=MAX_COUNT)])
async def test_the_bounds_are_what_the_node_takes(tmp_path: Path, verb: verbs.Verb) -> None:
    async with here(tmp_path) as (node, _):
        assert await verb.do(node) == []


async def test_a_private_networks_ticket_needs_a_key(tmp_path: Path) -> None:
    """Whoever else uses this machine could enter the network by it."""
    key = "correct-horse-battery-staple"
    async with answering(tmp_path / "a", psk=bytes(32)) as at, httpx.AsyncClient(base_url=at.url) as client:
        refused = await client.post("/api/invite")
        assert (refused.status_code, refused.json()["error"]["type"]) == (403, "NeedsKey")
        assert "use `espeer invite`" in refused.json()["error"]["message"]
    async with answering(tmp_path / "b", psk=bytes(32), key=key) as at, httpx.AsyncClient(base_url=at.url) as client:
        offline = await client.post("/api/invite", headers={"Authorization": f"Bearer {key}"})
        assert "it is offline" in offline.json()["error"]["message"]
