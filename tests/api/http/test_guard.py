"""Who may speak to a node over HTTP, and how much."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
from answering import answering
from trio.testing import MockClock

from espeer.api.http.guard import GRACE_SECONDS, MAX_BODY, MAX_UNDER_WAY, Guard, Message, Receive, Scope, Send
from espeer.api.http.settings import HttpSettings

KEY = "correct-horse-battery-staple"
OK, UNAUTHORIZED, FORBIDDEN, MISDIRECTED = 200, 401, 403, 421


async def asked(
    guard: Guard, *headers: tuple[str, str], path: str = "/api/status", method: str = "GET", body: Sequence[bytes] = ()
) -> tuple[int, bytes]:
    """What comes of a request: the status, and the body of the response."""
    parts = [*body, b""]
    sent: list[Message] = []

    async def receive() -> Message:
        if not parts:
            await trio.sleep_forever()
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Message) -> None:
        sent.append(message)

    named = [(name.encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "method": method, "path": path, "headers": named, "query_string": b""}
    await guard(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


async def fine(_: Scope, receive: Receive, send: Send) -> None:
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": OK, "headers": []})
    await send({"type": "http.response.body", "body": b"%d" % len(body)})


def guard(app: object = fine, **settings: object) -> Guard:
    return Guard(app, HttpSettings(address="127.0.0.1:0", **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", OK),
        ("LocalHost:7741", OK),
        ("127.0.0.1:7741", OK),
        ("[::1]:7741", OK),
        ("192.0.2.7", OK),  # no name, so nobody can have made it lead here
        ("pump-node.example.org:7741", OK),
        ("", MISDIRECTED),
        ("evil.example", MISDIRECTED),
        ("localhost.evil.example", MISDIRECTED),
        ("evil.example:localhost", MISDIRECTED),
        ("localhost@evil.example", MISDIRECTED),
        ("127.0.0.1.evil.example", MISDIRECTED),
        ("0x7f.1", MISDIRECTED),
        ("[::1", MISDIRECTED),
        ("evil.example@127.0.0.1", MISDIRECTED),  # nothing but a name or an address, and a port
        ("127.0.0.1/evil", MISDIRECTED),
        ("localhost?evil.example", MISDIRECTED),
        ("localhost#.evil.example", MISDIRECTED),
        ("local\thost", MISDIRECTED),
    ],
)
async def test_a_page_that_rebound_its_name_is_refused(host: str, status: int) -> None:
    assert (await asked(guard(names=("Pump-Node.example.org",)), ("host", host)))[0] == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:7741", OK),
        ("https://localhost:7741", OK),  # a proxy before the node may speak TLS
        ("http://localhost:3000", FORBIDDEN),
        ("http://127.0.0.1:7741", FORBIDDEN),
        ("https://evil.example", FORBIDDEN),
        ("null", FORBIDDEN),
        ("chrome-extension://abc", FORBIDDEN),
    ],
)
async def test_a_page_of_another_origin_is_refused(origin: str, status: int) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        got = await asked(guard(), ("host", "localhost:7741"), ("origin", origin), method=method)
        assert got[0] == status


@pytest.mark.parametrize(
    ("site", "mode", "dest", "path", "status"),
    [
        ("same-origin", "cors", "empty", "/api/status", OK),
        ("none", "navigate", "document", "/api/status", OK),  # typed by the user
        ("cross-site", "navigate", "document", "/", OK),  # a link to the dashboard
        ("cross-site", "navigate", "document", "/api/export", FORBIDDEN),
        ("cross-site", "navigate", "iframe", "/", FORBIDDEN),
        ("cross-site", "no-cors", "image", "/api/events", FORBIDDEN),  # these have no Origin
        ("cross-site", "no-cors", "script", "/static/app.js", FORBIDDEN),
        ("same-site", "no-cors", "image", "/api/events", FORBIDDEN),  # a page of another port of this machine
        ("cross-site", "no-cors", "empty", "/api/flush", FORBIDDEN),
    ],
)
async def test_what_a_page_fetches_without_an_origin_is_refused(
    site: str, mode: str, dest: str, path: str, status: int
) -> None:
    fetched = (("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest))
    assert (await asked(guard(), ("host", "localhost"), *fetched, path=path))[0] == status


@pytest.mark.parametrize("name", ["host", "origin", "authorization", "content-length", "sec-fetch-site"])
async def test_a_header_that_counts_stands_once(name: str) -> None:
    values = {"host": "localhost", "origin": "http://localhost", "authorization": f"Bearer {KEY}", "content-length": "0"}
    values["sec-fetch-site"] = "same-origin"
    twice = [*values.items(), (name, values[name])]
    assert (await asked(guard(key=KEY), *values.items()))[0] == OK
    assert (await asked(guard(key=KEY), *twice))[0] == 400


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        (f"Bearer {KEY}", OK),
        (f"bearer  {KEY} ", OK),
        (KEY, UNAUTHORIZED),
        ("", UNAUTHORIZED),
        ("Bearer", UNAUTHORIZED),
        ("Bearer wrong", UNAUTHORIZED),
        (f"Bearer {KEY}x", UNAUTHORIZED),
        (f"Bearer {KEY[:-1]}", UNAUTHORIZED),
        (f"Basic {KEY}", UNAUTHORIZED),
        ("Bearer kéy", UNAUTHORIZED),
    ],
)
async def test_the_key_is_asked_for(shown: str, status: int) -> None:
    for path in ("/api/status", "/v1/models", "/metrics", "/openapi.json", "/mcp", "/Health", "//health", "/static"):
        assert (await asked(guard(key=KEY), ("host", "localhost"), ("authorization", shown), path=path))[0] == status
    for path in ("/", "/health", "/static/app.js"):
        assert (await asked(guard(key=KEY), ("host", "localhost"), path=path))[0] == OK


async def test_a_body_is_bounded_whatever_is_announced() -> None:
    part = b"x" * (MAX_BODY // 4)
    host = ("host", "localhost")
    assert await asked(guard(), host, body=[part] * 4) == (OK, b"%d" % MAX_BODY)
    assert (await asked(guard(), host, body=[part] * 4 + [b"x"]))[0] == 413
    assert (await asked(guard(), host, ("content-length", str(MAX_BODY + 1))))[0] == 413
    assert (await asked(guard(), host, ("content-length", "9" * 5000)))[0] == 413


async def test_requests_under_way_are_bounded(autojump_clock: MockClock) -> None:
    del autojump_clock
    over = trio.Event()

    async def patient(scope: Scope, receive: Receive, send: Send) -> None:
        await over.wait()
        await fine(scope, receive, send)

    stands, statuses = guard(patient), []

    async def ask() -> None:
        statuses.append((await asked(stands, ("host", "localhost")))[0])

    async with trio.open_nursery() as nursery:
        for _ in range(MAX_UNDER_WAY):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        status, body = await asked(stands, ("host", "localhost"))
        assert (status, json.loads(body)["error"]["type"]) == (503, "Refused")
        over.set()
    assert statuses == [OK] * MAX_UNDER_WAY
    assert (await asked(stands, ("host", "localhost")))[0] == OK


@pytest.mark.parametrize("hears", [True, False])
async def test_an_app_that_hears_that_its_client_went_may_end_in_its_own_way(autojump_clock: MockClock, hears: bool) -> None:
    done: list[str] = []

    async def stream(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": OK, "headers": []})
        try:
            assert (await receive())["type"] == "http.disconnect"
            await trio.sleep(GRACE_SECONDS / 2)
            done.append("in its own way")
            await trio.sleep_forever()
        except trio.Cancelled:
            done.append("cancelled")
            raise

    messages = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]

    async def receive() -> Message:
        await trio.sleep(1)
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        pass

    began = trio.current_time()
    scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": [(b"host", b"localhost")], "query_string": b""}
    await Guard(stream, HttpSettings(), hearing={"/mcp"} if hears else ())(scope, receive, send)
    assert done == (["in its own way", "cancelled"] if hears else ["cancelled"])
    assert trio.current_time() - began == pytest.approx(2 + (GRACE_SECONDS if hears else 0))


async def test_who_needs_no_key_takes_no_place_of_those_who_have_it(autojump_clock: MockClock) -> None:
    del autojump_clock
    over = trio.Event()

    async def patient(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/static/app.js":
            await over.wait()
        await fine(scope, receive, send)

    stands = guard(patient, key=KEY)
    async with trio.open_nursery() as nursery:
        for _ in range(MAX_UNDER_WAY):
            nursery.start_soon(partial(asked, stands, ("host", "localhost"), path="/static/app.js"))
        await trio.testing.wait_all_tasks_blocked()
        assert (await asked(stands, ("host", "localhost"), ("authorization", f"Bearer {KEY}")))[0] == OK
        over.set()


@pytest.mark.parametrize(
    "path",
    [
        "/static/../api/status",
        "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/static/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/static/%00",
        "/static//etc/passwd",
        "/static/%ff",
        "/..%5c..%5cetc",
    ],
)
async def test_no_path_leads_out_nor_around_the_key(tmp_path: Path, path: str) -> None:
    async with answering(tmp_path, key=KEY) as at:
        host, _, port = at.url.removeprefix("http://").partition(":")
        stream = await trio.open_tcp_stream(host, int(port))
        async with stream:
            await stream.send_all(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            got = b""
            while part := await stream.receive_some():
                got += part
    assert int(got.split()[1]) in (401, 404)
    assert b"root:" not in got
    assert b"peer_id" not in got


async def test_no_other_origin_is_allowed_anything(tmp_path: Path) -> None:
    async with answering(tmp_path) as at, httpx.AsyncClient(base_url=at.url) as client:
        for method, path in (("OPTIONS", "/v1/models"), ("GET", "/v1/models"), ("GET", "/health"), ("OPTIONS", "/health")):
            got = await client.request(method, path, headers={"Access-Control-Request-Method": "POST"})
            assert got.status_code == (405 if method == "OPTIONS" else 200)
            assert not [name for name in got.headers if name.startswith("access-control")]
            assert got.headers["cross-origin-resource-policy"] == "same-origin"
            assert "server" not in got.headers
        assert (await client.head("/health")).status_code == 200
