"""The endpoint that OpenAI's clients know, asked by OpenAI's own client."""

import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import openai
import pytest
import trio
from answering import Answering, answering

from espeer import FakeModel
from espeer.errors import ModelError
from espeer.folder import store_path
from espeer.lifecycle import prompts
from espeer.llm.model import Prompt, Run, Sampling

T = TypeVar("T")

ASKED = [{"role": "user", "content": "Pump P7 shows E42. What now?"}]


class Heard:
    """A model that keeps what it is asked."""

    def __init__(self, reply: str = "one two three", **options: Any) -> None:
        self.asked: list[tuple[Prompt, Sampling]] = []
        self.model = FakeModel(self._answer, **options)
        self._reply = reply

    def _answer(self, prompt: Prompt, sampling: Sampling) -> str:
        self.asked.append((prompt, sampling))
        return self._reply


@contextmanager
def client_of(url: str, **options: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=20, **options) as client:
        yield client


async def by(at: Answering, use: Callable[[openai.OpenAI], T]) -> T:
    """Use OpenAI's client in a thread."""

    def call() -> T:
        with client_of(at.url) as client:
            return use(client)

    return await trio.to_thread.run_sync(call)


def chat(**params: Any) -> Callable[[openai.OpenAI], Any]:
    return lambda client: client.chat.completions.create(**({"model": "espeer", "messages": ASKED} | params))


def streamed(**params: Any) -> Callable[[openai.OpenAI], list[Any]]:
    return lambda client: list(client.chat.completions.create(**({"model": "espeer", "messages": ASKED} | params), stream=True))


async def posted(at: Answering, path: str = "/v1/chat/completions", headers: Any = None, **body: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=at.url, timeout=20) as client:
        return await client.post(path, json={"messages": ASKED} | body, headers=headers)


def interactions(folder: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(store_path(folder))) as store:
        return list(store.execute("SELECT query, response FROM interactions ORDER BY id"))


async def test_an_answer_comes_with_the_experience_that_it_rests_on(tmp_path: Path) -> None:
    async with answering(tmp_path) as at:
        learnt = await at.node.learn("Pump P7 shows E42 when cold.", feedback="Purge the line for 40 s.", wait=True)
        said = await by(at, chat())
        (choice,) = said.choices
        assert (said.object, said.model, choice.index, choice.finish_reason) == ("chat.completion", "fake", 0, "stop")
        assert choice.message.role == "assistant"
        assert "P7" in choice.message.content
        (used,) = said.espeer["experiences"]
        assert used["id"] == learnt.experience
        assert {"id", "confidence", "ttft_ms", "unreached", "finish", "type"} <= said.espeer.keys()
        assert said.usage.total_tokens == said.usage.prompt_tokens + said.usage.completion_tokens
        assert said.usage.completion_tokens == len(choice.message.content.split())
        await at.node.feedback(said.espeer["id"], "Purge it for 50 s.")
    assert interactions(tmp_path)[-1] == ("Pump P7 shows E42. What now?", choice.message.content)


async def test_a_stream_says_the_same_piece_by_piece(tmp_path: Path) -> None:
    async with answering(tmp_path) as at:
        await at.node.learn("Pump P7 shows E42 when cold.", feedback="Purge the line for 40 s.", wait=True)
        whole = await by(at, chat())
        *pieces, end, usage = await by(at, streamed(stream_options={"include_usage": True}))
    assert len(pieces) > 3
    assert {piece.object for piece in (*pieces, end, usage)} == {"chat.completion.chunk"}
    assert len({piece.id for piece in (*pieces, end, usage)}) == 1
    assert pieces[0].choices[0].delta.role == "assistant"
    assert "".join(piece.choices[0].delta.content for piece in pieces) == whole.choices[0].message.content
    assert {piece.choices[0].finish_reason for piece in pieces} == {None}
    assert end.choices[0].finish_reason == "stop"
    assert [used["id"] for used in end.espeer["experiences"]] == [used["id"] for used in whole.espeer["experiences"]]
    assert end.espeer["id"] == whole.espeer["id"] + 1
    assert usage.choices == []
    assert usage.usage == whole.usage


async def test_every_chunk_has_a_choice_unless_usage_is_asked_for(tmp_path: Path) -> None:
    async with answering(tmp_path) as at:
        assert all(len(chunk.choices) == 1 for chunk in await by(at, streamed()))


async def test_what_goes_over_the_wire_is_what_openai_documents(tmp_path: Path) -> None:
    async with answering(tmp_path, FakeModel(lambda *_: "one two")) as at:
        said = await posted(at, stream=True)
    assert said.headers["content-type"].split(";")[0] == "text/event-stream"
    events = said.text.split("\n\n")
    assert events.pop() == ""
    assert events.pop() == "data: [DONE]"
    assert all(event.startswith("data: {") for event in events)
    assert [json.loads(event[6:])["choices"][0]["delta"] for event in events] == [
        {"role": "assistant", "content": "one"},
        {"content": " two"},
        {},
    ]


async def test_the_first_piece_does_not_wait_for_the_judgement(tmp_path: Path) -> None:
    judged = trio.Event()

    class Judging(FakeModel):
        def score(self, *args: Any) -> Any:
            trio.from_thread.run(judged.wait)
            return super().score(*args)

    async with (
        answering(tmp_path, Judging(lambda *_: "one two")) as at,
        httpx.AsyncClient(base_url=at.url, timeout=20) as client,
        client.stream("POST", "/v1/chat/completions", json={"messages": ASKED, "stream": True}) as said,
    ):
        lines = said.aiter_lines()
        assert '"content": "one"' in await anext(lines)
        assert await anext(lines) == ""
        assert '"content": " two"' in await anext(lines)
        judged.set()
        assert '"confidence"' in "".join([line async for line in lines])


async def test_a_question_alone_is_asked_as_any_other(tmp_path: Path) -> None:
    heard = Heard()
    async with answering(tmp_path, heard.model) as at:
        await by(at, chat(messages=[{"role": "user", "content": [{"type": "text", "text": "What  now?"}]}]))
        await at.node.ask("What now?")
    first, second = (prompt for prompt, _ in heard.asked)
    assert first == second == prompts.ask("What now?", ())


async def test_a_conversation_is_read_and_only_its_end_is_kept(tmp_path: Path) -> None:
    heard = Heard()
    messages = [
        {"role": "developer", "content": "Talk like a pirate."},
        {"role": "user", "content": "Who are you?", "name": "sailor"},
        {"role": "assistant", "content": "A parrot."},
        {"role": "user", "content": "What now?"},
    ]
    async with answering(tmp_path, heard.model) as at:
        await by(at, chat(messages=messages))
    said = [(message.role, message.text) for message in heard.asked[0][0].messages]
    assert said == [("system", "Talk like a pirate."), *((turn["role"], turn["content"]) for turn in messages[1:])]
    assert interactions(tmp_path) == [("What now?", "one two three")]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_not_to_be_captured_is_not(tmp_path: Path, *, stream: bool) -> None:
    async with answering(tmp_path) as at:
        said = await posted(at, stream=stream, headers={"X-Espeer-Capture": "no"})
        assert said.status_code == 200
        assert '"id": null' in said.text.replace('":null', '": null')
        assert (await posted(at, headers={"X-Espeer-Capture": "perhaps"})).status_code == 400
        assert interactions(tmp_path) == []
        await posted(at, headers={"X-Espeer-Capture": "yes"})
        assert len(interactions(tmp_path)) == 1


async def test_a_node_can_keep_nothing_at_all(tmp_path: Path) -> None:
    async with answering(tmp_path, capture=False) as at:
        assert (await by(at, chat(extra_headers={"X-Espeer-Capture": "yes"}))).espeer["id"] is None
        assert (await at.node.ask("What now?")).id is None
    assert interactions(tmp_path) == []


async def test_options_reach_the_model(tmp_path: Path) -> None:
    heard = Heard()
    async with answering(tmp_path, heard.model) as at:
        await by(
            at, chat(max_tokens=7, temperature=0.5, seed=2**40, stop=["a", "b"], user="me", top_p=0.1, metadata={"a": "b"})
        )
        await by(at, chat(max_completion_tokens=8, max_tokens=9, stop="a", n=1, logprobs=False, tools=[], seed=-1))
        await by(at, chat(stop=None, temperature=None))
    first, second, third = (sampling for _, sampling in heard.asked)
    assert (first.max_tokens, first.temperature, first.stop) == (7, 0.5, ("a", "b"))
    assert (second.max_tokens, second.temperature, second.stop) == (8, 0.0, ("a",))
    assert (third.max_tokens, third.stop) == (128, ())
    assert all(0 <= sampling.seed < 2**32 - 1 for sampling in (first, second, third))


@pytest.mark.parametrize(("reply", "params", "finish"), [("one two", {}, "stop"), ("one two", {"max_tokens": 1}, "length")])
async def test_why_an_answer_ended(tmp_path: Path, reply: str, params: Any, finish: str) -> None:
    async with answering(tmp_path, FakeModel(lambda *_: reply)) as at:
        assert (await by(at, chat(**params))).choices[0].finish_reason == finish
        assert (await by(at, streamed(**params)))[-1].choices[0].finish_reason == finish


async def test_an_answer_in_a_form(tmp_path: Path) -> None:
    heard = Heard('{"city": "Bern"}')
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    async with answering(tmp_path, heard.model) as at:
        await by(
            at, chat(response_format={"type": "json_schema", "json_schema": {"name": "c", "strict": True, "schema": schema}})
        )
        await by(at, chat(response_format={"type": "json_object"}))
        await by(at, chat(response_format={"type": "text"}))
    first, second, third = (sampling.grammar for _, sampling in heard.asked)
    assert first is not None
    assert '\\"city\\": ' in first
    assert second is not None
    assert second.startswith("root ::= ")
    assert third is None


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"n": 2}, "n: this node gives one answer"),
    ({"logprobs": True}, "logprobs"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]}, "text only"),
    ({"messages": [{"role": "tool", "content": "4", "tool_call_id": "1"}]}, "messages.0.role"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "assistant", "content": "4"}]}, "does not end with a user's message"),
    ({"messages": "What now?"}, "messages"),
    ({"temperature": -1}, "temperature"),
    ({"max_tokens": -5}, "max-tokens"),
    ({"stop": [""]}, "a text to stop at"),
    ({"response_format": {"type": "json_schema"}}, "json_schema is missing"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "strange"}}}},
        "response_format: the schema",
    ),
    ({"response_format": {"type": "yaml"}}, "response_format.type"),
    ({"messages": [{"role": "user", "content": "word " * 1700}]}, "too long"),
    ({"messages": [{"role": "user", "content": "w " * 4000}]}, "does not fit the model's context"),
]


@pytest.mark.parametrize(("params", "why"), REFUSED, ids=[why for _, why in REFUSED])
@pytest.mark.parametrize("stream", [False, True])
async def test_what_cannot_be_done_is_a_clear_400(tmp_path: Path, params: dict[str, Any], why: str, *, stream: bool) -> None:
    async with answering(tmp_path) as at:
        with pytest.raises(openai.BadRequestError) as caught:
            await by(at, chat(**params, stream=stream))
        assert why in str(caught.value)
        if "fit the model" in why:
            assert caught.value.code == "context_length_exceeded"
        assert interactions(tmp_path) == []


async def test_models(tmp_path: Path) -> None:
    async with answering(tmp_path) as at:
        (only,) = (await by(at, lambda client: client.models.list())).data
        assert (only.id, only.object, only.owned_by) == ("fake", "model", "espeer")
        for name in ("fake", "espeer", "default"):
            assert await by(at, lambda client, name=name: client.models.retrieve(name)) == only
            assert (await by(at, chat(model=name))).model == "fake"
        with pytest.raises(openai.NotFoundError, match="no model 'gpt-4o'; it has 'fake'") as caught:
            await by(at, lambda client: client.models.retrieve("gpt-4o"))
        assert caught.value.code == "model_not_found"
        with pytest.raises(openai.NotFoundError):
            await by(at, chat(model="gpt-4o", stream=True))
        assert (await posted(at)).status_code == 200  # none named


async def test_completions(tmp_path: Path) -> None:
    async with answering(tmp_path, FakeModel(lambda *_: "one two")) as at:
        said = await by(at, lambda client: client.completions.create(model="espeer", prompt="Count."))
        assert (said.object, said.choices[0].text, said.choices[0].finish_reason) == ("text_completion", "one two", "stop")
        assert said.usage.completion_tokens == 2
        assert said.espeer["id"] == 1
        chunks = await by(
            at,
            lambda client: list(
                client.completions.create(
                    model="espeer", prompt=["Count."], stream=True, stream_options={"include_usage": True}
                )
            ),
        )
        assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == "one two"
        assert chunks[-1].usage == said.usage
        for params in (
            {"echo": True},
            {"suffix": "x"},
            {"best_of": 3},
            {"logprobs": 2},
            {"prompt": ["a", "b"]},
            {"prompt": []},
        ):
            with pytest.raises(openai.BadRequestError):
                await by(
                    at, lambda client, params=params: client.completions.create(**({"model": "espeer", "prompt": "a"} | params))
                )


@asynccontextmanager
async def failing(folder: Path, error: Exception) -> AsyncIterator[Answering]:
    """A node whose model fails at the question for the confidence: after the answer."""

    class Failing(FakeModel):
        def score(self, *_: Any) -> Any:
            raise error

    async with answering(folder, Failing(lambda *_: "one two")) as at:
        yield at


async def test_an_error_in_the_midst_of_a_stream_is_an_event(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with failing(tmp_path, ModelError("the model is ill")) as at:
        said = await posted(at, stream=True)
        with pytest.raises(openai.APIError, match="the model is ill"):
            await by(at, streamed())
    *events, last, _ = said.text.split("\n\n")
    assert len(events) == 2
    assert json.loads(last[6:])["error"]["type"] == "ModelError"
    assert not caplog.records


async def test_a_fault_of_ours_tells_nothing_of_itself(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with failing(tmp_path, RuntimeError("secret")) as at:
        assert "secret" not in (await posted(at, stream=True)).text
        with pytest.raises(openai.InternalServerError, match="the node failed at this; its log says why") as caught:
            await by(at, chat())
    assert "secret" not in str(caught.value)


async def test_an_error_before_the_first_piece_has_its_status(tmp_path: Path) -> None:
    def fail(*_: Any) -> str:
        raise ModelError("the model is ill")

    async with answering(tmp_path, FakeModel(fail)) as at:
        assert (await posted(at, stream=True)).status_code == 500
        assert "the model is ill" in (await posted(at, stream=True)).json()["error"]["message"]


class Unhurried(FakeModel):
    """Answers for a hundred seconds, and tells of what it is at."""

    def __init__(self) -> None:
        super().__init__(lambda *_: "word " * 10_000, context=20_000)
        self.begun, self.ended = trio.Event(), trio.Event()

    def generate(self, prompt: Prompt, sampling: Sampling) -> Run:
        run = super().generate(prompt, sampling)
        close = run.close

        def closed() -> None:
            close()
            trio.from_thread.run_sync(self.ended.set)

        run.close = closed  # type: ignore[method-assign]
        return run

    def step(self, runs: Sequence[Run]) -> None:
        trio.from_thread.run_sync(self.begun.set)
        time.sleep(0.01)
        super().step(runs)


@pytest.mark.parametrize("stream", [False, True])
async def test_who_goes_away_has_the_model_stopped(tmp_path: Path, *, stream: bool) -> None:
    model = Unhurried()
    body = json.dumps({"messages": ASKED, "stream": stream}).encode()
    async with answering(tmp_path, model, answer_tokens=10_000, warming=False) as at:
        url = urlsplit(at.url)
        client = await trio.open_tcp_stream(url.hostname, url.port)
        async with client:
            await client.send_all(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            await model.begun.wait()
            if stream:
                assert b"200" in await client.receive_some()
        with trio.fail_after(5):
            await model.ended.wait()
    assert interactions(tmp_path) == []


async def test_half_a_character_in_what_is_refused_is_no_fault_of_the_node(tmp_path: Path) -> None:
    form = {"type": "json_schema", "json_schema": {"schema": {"type": "string", "\ud800": 1}}}
    content = json.dumps({"messages": ASKED, "response_format": form})
    async with answering(tmp_path) as at, httpx.AsyncClient(base_url=at.url, timeout=20) as client:
        got = await client.post("/v1/chat/completions", content=content, headers={"content-type": "application/json"})
    assert got.status_code == 400
    assert "has ?, which is not taken" in got.json()["error"]["message"]
