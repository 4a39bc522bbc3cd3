"""The server: its socket, its bounds, what it answers while the node is not up."""

import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from answering import answering
from fastapi import FastAPI
from opentelemetry import trace
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair

from espeer import Config, FakeModel, Node
from espeer.api.http.guard import Receive, Scope, Send
from espeer.api.http.served import Served
from espeer.api.http.server import Front, serve
from espeer.api.http.settings import HttpSettings
from espeer.errors import AddressInUse, ConfigError
from espeer.tasks import background

REQUEST = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"


@asynccontextmanager
async def served(settings: HttpSettings, node: Served) -> AsyncIterator[str]:
    async with background() as nursery:
        yield await nursery.start(serve, node, settings)


async def test_health_tells_that_the_model_is_loading(tmp_path: Path) -> None:
    loaded, done = trio.Event(), trio.Event()
    node = Served()

    async def load() -> None:
        await loaded.wait()
        async with Node(Config(data=tmp_path, offline=True), model=FakeModel()) as running:
            node.up(running)
            up.set()
            await done.wait()
            node.down()
        down.set()

    up, down = trio.Event(), trio.Event()
    async with (
        served(HttpSettings(address="127.0.0.1:0"), node) as url,
        httpx.AsyncClient(base_url=url) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(load)
        loading = await client.get("/health")
        assert (loading.status_code, loading.json()) == (503, {"status": "loading"})
        for path, body in (("/v1/chat/completions", {"messages": [{"role": "user", "content": "?"}]}), ("/api/flush", {})):
            refused = await client.post(path, json=body)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
            assert "the node is loading" in refused.json()["error"]["message"]
        loaded.set()
        await up.wait()
        assert (await client.get("/health")).json() == {"status": "ready"}
        done.set()
        await down.wait()
        assert (await client.get("/health")).status_code == 503


async def test_where_the_port_is_taken_the_next_one_is_used() -> None:
    with ExitStack() as stack:
        taken = stack.enter_context(socket.socket())
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUse, match=f"cannot listen for HTTP on 127.0.0.1:{port}: .*; choose another --http"):
            async with served(HttpSettings(address=f"127.0.0.1:{port}"), Served()):
                raise AssertionError
        async with served(HttpSettings(address=f"127.0.0.1:{port}", next_port=True), Served()) as url:
            assert port < int(url.rpartition(":")[2]) <= port + 19


@pytest.mark.parametrize("address", ["0.0.0.0:7741", "[::]:7741", "192.0.2.1:7741"])
def test_what_others_reach_has_a_key(address: str) -> None:
    with pytest.raises(ConfigError, match="without a key"):
        HttpSettings(address=address)
    HttpSettings(address=address, key="k" * 16)


@pytest.mark.parametrize("key", ["short", "k" * 257, "ü" * 16, "k" * 15 + "\n"])
def test_a_key_is_long_and_plain(key: str) -> None:
    with pytest.raises(ConfigError, match="16 to 256 printable ASCII"):
        HttpSettings(key=key)
    assert "k" * 16 not in repr(HttpSettings(key="k" * 16))


@pytest.mark.parametrize("address", ["localhost:7741", "127.0.0.1", "127.0.0.1:70000", "127.0.0.1:-1", "", "127.0.0.1:²"])
def test_an_address_is_an_ip_and_a_port(address: str) -> None:
    with pytest.raises(ConfigError, match="give IP:PORT"):
        HttpSettings(address=address)


async def test_beyond_the_bound_who_waits_longest_gives_way(autojump_clock: MockClock) -> None:
    del autojump_clock
    under_way, over = trio.Event(), trio.Event()

    async def app(scope: Scope, _: Receive, send: Send) -> None:
        if scope["path"] == "/a":
            under_way.set()
            await over.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    front = Front(app, {}, most=2)
    async with trio.open_nursery() as nursery:

        def connect() -> trio.abc.Stream:
            ours, theirs = memory_stream_pair()
            nursery.start_soon(front.answer, theirs)
            return ours

        at_work = connect()
        await at_work.send_all(REQUEST)
        await under_way.wait()
        idle = connect()
        await idle.send_all(b"GET /b HTTP/1.1\r\nHo")
        await trio.testing.wait_all_tasks_blocked()
        third = connect()
        began = trio.current_time()
        assert await idle.receive_some() == b""  # at once, not when its time is over
        assert trio.current_time() == began
        await third.send_all(REQUEST)
        await trio.testing.wait_all_tasks_blocked()
        assert await connect().receive_some() == b""  # both are at work: there is no room
        over.set()
        for stream in (at_work, third):
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 204 ")
            await stream.aclose()
    async with trio.open_nursery() as nursery:  # and the room is there again
        last = connect()
        await last.send_all(REQUEST)
        assert (await last.receive_some()).startswith(b"HTTP/1.1 204 ")
        await last.aclose()


@pytest.mark.parametrize(
    "sent", [b"GET /a HTTP/1.1\r\nHo", b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", REQUEST]
)
async def test_who_holds_a_place_without_using_it_gives_way(autojump_clock: MockClock, sent: bytes) -> None:
    """A head, a body that does not come to its end, or an answer that nobody takes: even if a byte comes now and then."""
    del autojump_clock

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * (1 if scope["path"] == "/b" else 10_000_000)})

    front = Front(app, {}, most=2)
    async with background() as nursery:

        async def connect(first: bytes) -> trio.abc.Stream:
            ours, theirs = lockstep_stream_pair()
            nursery.start_soon(front.answer, theirs)
            await ours.send_all(first)
            await trio.testing.wait_all_tasks_blocked()
            return ours

        holding = await connect(sent)
        await trio.sleep(1)
        other = await connect(b"GET /b HTTP/1.1\r\nHo")
        await trio.sleep(1)
        if sent != REQUEST:
            await holding.send_all(b"x")
        third = await connect(REQUEST.replace(b"/a", b"/b"))
        assert (await third.receive_some()).startswith(b"HTTP/1.1 200 ")
        await other.send_all(b"st: a\r\n\r\n")
        assert (await other.receive_some()).startswith(b"HTTP/1.1 200 ")


async def test_who_does_not_read_holds_nothing_up() -> None:
    async def endless(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, Front(endless, {}).answer, [listener])
            async with await trio.testing.open_stream_to_socket_listener(listener) as client:
                await client.send_all(REQUEST)
                await trio.testing.wait_all_tasks_blocked(0.1)  # all buffers between them are full
                nursery.cancel_scope.cancel()


async def test_nothing_is_told_to_telemetry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where the process has a provider of OpenTelemetry's, and all variables that FastAPI heeds are set."""

    class Told(trace.TracerProvider):
        asked = 0

        def get_tracer(self, *_: Any, **__: Any) -> trace.Tracer:
            Told.asked += 1
            return trace.NoOpTracer()

    monkeypatch.setattr(trace, "get_tracer_provider", Told)
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    plain = FastAPI(telemetry={"auto_configure": False})
    await httpx.AsyncClient(transport=httpx.ASGITransport(plain), base_url="http://localhost").get("/nowhere")
    told = Told.asked
    assert told  # as an app that does not say no
    async with answering(tmp_path) as at, httpx.AsyncClient(base_url=at.url) as client:
        assert (await client.get("/api/status")).status_code == 200
        assert (await client.get("/nowhere")).status_code == 404
    assert Told.asked == told
