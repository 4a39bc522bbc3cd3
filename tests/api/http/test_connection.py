"""HTTP/1.1 byte by byte, between streams in memory and on a virtual clock."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair

from espeer.api.http.connection import HEAD_SECONDS, IDLE_SECONDS, LINGER_SECONDS, MAX_HEAD, TAKE_SECONDS, Connection
from espeer.api.http.guard import App, Guard, Receive, Scope, Send
from espeer.api.http.settings import HttpSettings
from espeer.tasks import background

HOST = b"Host: localhost\r\n"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the method, the path, and how long the body is."""
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        length += len(message["body"])
        more = message["more_body"]
    await answer(send, f"{scope['method']} {scope['path']} {length}".encode())


async def answer(send: Send, body: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


class Client:
    """The other end of a connection."""

    def __init__(self, stream: trio.abc.Stream, ended: trio.Event) -> None:
        self.stream = stream
        self.ended = ended
        self.rest = b""

    async def all(self) -> bytes:
        """All that comes until the connection is closed."""
        got = b""
        while part := await self.stream.receive_some():
            got += part
        return got

    async def until(self, end: bytes) -> bytes:
        """What comes up to that."""
        while end not in self.rest:
            part = await self.stream.receive_some()
            assert part, self.rest
            self.rest += part
        before, _, self.rest = self.rest.partition(end)
        return before + end


@asynccontextmanager
async def connected(
    app: App = echo, pair: Callable[[], tuple[trio.abc.Stream, trio.abc.Stream]] = memory_stream_pair
) -> AsyncIterator[Client]:
    ours, theirs = pair()
    ended = trio.Event()

    async def run() -> None:
        await Connection(app, theirs, {}).run()  # type: ignore[arg-type]
        ended.set()

    async with background() as nursery:
        nursery.start_soon(run)
        yield Client(ours, ended)


async def said(request: bytes, app: App = echo) -> tuple[int, bytes]:
    """The status and the body of the one response to what is sent."""
    async with connected(app) as client:
        await client.stream.send_all(request)
        head, _, body = (await client.all()).partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
    assert status is not None, head
    return int(status[1]), body


def guarded(app: App = echo) -> Guard:
    return Guard(app, HttpSettings(address="127.0.0.1:0"))


async def test_requests_follow_each_other_even_if_they_come_at_once(autojump_clock: MockClock) -> None:
    del autojump_clock
    async with connected() as client:
        await client.stream.send_all(
            b"GET /a HTTP/1.1\r\n" + HOST + b"\r\nPOST /b HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc"
        )
        await client.until(b"GET /a 0")
        await client.until(b"POST /b 3")
        await client.stream.send_all(
            b"POST /%C3%A9?q HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
        )
        await client.until("POST /é 2".encode())


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Bad name: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\nab", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 2 * MAX_HEAD + b"\r\n\r\n", 431),
        (b"GET http://localhost/health HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET http://evil.example/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"CONNECT localhost:22 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ],
)
async def test_what_is_not_http_is_refused(autojump_clock: MockClock, request_: bytes, status: int) -> None:
    del autojump_clock
    got, body = await said(request_, guarded())
    assert got == status
    assert body.startswith(b'{"error": ')


async def test_a_length_and_an_encoding_at_once_are_refused(autojump_clock: MockClock) -> None:
    del autojump_clock
    request = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert (await said(request, guarded()))[0] == 400


@pytest.mark.parametrize(
    "upgrade",
    [
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bm9uY2U=\r\n",
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    ],
)
async def test_no_upgrade_is_granted(autojump_clock: MockClock, upgrade: bytes) -> None:
    del autojump_clock
    async with connected(guarded()) as client:
        for _ in range(2):  # and the connection goes on as it was
            await client.stream.send_all(b"GET /a HTTP/1.1\r\n" + HOST + upgrade + b"\r\n")
            got = await client.until(b"GET /a 0")
            assert got.startswith(b"HTTP/1.1 200 ")


async def test_http_1_0_is_answered_and_closed(autojump_clock: MockClock) -> None:
    del autojump_clock
    assert await said(b"GET /a HTTP/1.0\r\n" + HOST + b"\r\n", guarded()) == (200, b"GET /a 0")
    assert (await said(b"GET /a HTTP/1.0\r\n\r\n", guarded()))[0] == 421  # it names no host


async def test_head_has_no_body(autojump_clock: MockClock) -> None:
    del autojump_clock
    assert await said(b"HEAD /a HTTP/1.1\r\n" + HOST + b"\r\n") == (200, b"")
    assert await said(b"HEAD /a HTTP/1.1\r\n" + HOST + b"\r\n", guarded()) == (200, b"")


async def test_who_waits_for_a_word_before_the_body_gets_it(autojump_clock: MockClock) -> None:
    del autojump_clock
    async with connected() as client:
        await client.stream.send_all(b"POST / HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await client.stream.send_all(b"ab")
        await client.until(b"POST / 2")


async def test_what_is_too_large_is_told_so_while_it_still_comes(autojump_clock: MockClock) -> None:
    del autojump_clock
    length = 3 * 1024 * 1024
    for head in (b"Content-Length: %d\r\n\r\n" % length, b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % length):
        status, body = await said(b"POST / HTTP/1.1\r\n" + HOST + head + b"x" * length, guarded())
        assert status == 413
        assert b"at most 1,048,576 bytes" in body


async def elapsed_until_closed(drip: bytes, *, start: bytes = b"") -> tuple[float, bytes]:
    """Send a byte a second; how long was that possible, and what came back."""
    began = trio.current_time()
    async with connected(guarded()) as client, background() as nursery:

        async def send() -> None:
            await client.stream.send_all(start)
            for byte in drip:
                await client.stream.send_all(bytes((byte,)))
                await trio.sleep(1)

        if start or drip:
            nursery.start_soon(send)
        got = b""
        with suppress(trio.BrokenResourceError):
            got = await client.all()
        return trio.current_time() - began, got


async def test_a_slow_head_is_not_waited_for(autojump_clock: MockClock) -> None:
    del autojump_clock
    seconds, _ = await elapsed_until_closed(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 1000)
    assert HEAD_SECONDS <= seconds <= HEAD_SECONDS + LINGER_SECONDS + 1
    seconds, _ = await elapsed_until_closed(b"", start=b"GET /")
    assert HEAD_SECONDS <= seconds <= HEAD_SECONDS + LINGER_SECONDS


async def test_a_slow_body_is_not_waited_for(autojump_clock: MockClock) -> None:
    del autojump_clock
    seconds, got = await elapsed_until_closed(
        b"x" * 1000, start=b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1000\r\n\r\n"
    )
    assert got.startswith(b"HTTP/1.1 408 ")
    assert 10 <= seconds <= 10 + LINGER_SECONDS + 1


async def test_chunks_that_come_at_once_let_others_have_their_turn() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with background() as nursery, connected() as client:
        chunks = b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n"
        await client.stream.send_all(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        nursery.start_soon(other)
        await client.until(b"POST / 5000")
        assert turns > 5000


async def test_who_asks_nothing_is_not_kept(autojump_clock: MockClock) -> None:
    del autojump_clock
    seconds, _ = await elapsed_until_closed(b"")
    assert IDLE_SECONDS <= seconds <= IDLE_SECONDS + LINGER_SECONDS
    async with connected() as client:
        await client.stream.send_all(b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n")
        await client.until(b"GET /a 0")
        began = trio.current_time()
        await client.all()
        assert IDLE_SECONDS <= trio.current_time() - began <= IDLE_SECONDS + LINGER_SECONDS


async def test_who_takes_nothing_of_an_answer_loses_it(autojump_clock: MockClock) -> None:
    del autojump_clock
    cancelled = trio.Event()

    async def endless(_: Scope, __: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        finally:
            cancelled.set()

    async with connected(guarded(endless), lockstep_stream_pair) as client:
        await client.stream.send_all(b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n")
        assert await client.stream.receive_some()
        began = trio.current_time()
        await client.ended.wait()
        assert trio.current_time() - began == pytest.approx(TAKE_SECONDS)
        assert cancelled.is_set()


@pytest.mark.parametrize("ahead", [b"", b"GET /b HTTP/1.1\r\n"])
async def test_who_goes_away_has_the_app_cancelled(autojump_clock: MockClock, ahead: bytes) -> None:
    del autojump_clock
    begun, cancelled = trio.Event(), trio.Event()

    async def endless(_: Scope, receive: Receive, __: Send) -> None:
        begun.set()
        try:
            await receive()
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with connected(guarded(endless)) as client:
        await client.stream.send_all(b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n" + ahead)
        await begun.wait()
        await client.stream.aclose()
        await cancelled.wait()
        await client.ended.wait()


async def test_more_than_some_is_not_read_ahead(autojump_clock: MockClock) -> None:
    del autojump_clock
    taken = 0

    async def patient(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await trio.sleep(1)
        await answer(send, b"done")

    async with connected(guarded(patient), lockstep_stream_pair) as client:
        await client.stream.send_all(b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n")
        with trio.move_on_after(0.5):
            while True:
                await client.stream.send_all(b"x" * 10_000)
                taken += 10_000
    assert taken < 200_000


@pytest.mark.parametrize("begun", [False, True])
async def test_an_app_that_gives_no_whole_answer_has_the_connection_closed(autojump_clock: MockClock, *, begun: bool) -> None:
    del autojump_clock

    async def failing(_: Scope, __: Receive, send: Send) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        raise RuntimeError("secret")

    async with connected(guarded(failing)) as client:
        await client.stream.send_all(b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n")
        got = await client.all()
    assert b"secret" not in got
    assert not got.endswith(b"0\r\n\r\n")  # so its reader sees that it is not whole
