"""A node that answers HTTP in this process, and a reader of its events."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import trio
from answering import answering

from espeer import Node
from espeer.api.http.served import Served

PATIENCE = 10.0


@dataclass
class Site:
    """A node, and a client of its HTTP server."""

    node: Node
    served: Served
    client: httpx.AsyncClient


@asynccontextmanager
async def site(folder: Path, *, key: str = "") -> AsyncIterator[Site]:
    async with (
        answering(folder, key=key, refining=False) as at,
        httpx.AsyncClient(base_url=at.url, timeout=PATIENCE) as client,
    ):
        yield Site(at.node, at.served, client)


class Events:
    """Events as they come."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._read = bytearray()

    async def next(self, *names: str) -> tuple[str, str, Any]:
        """The next event of one of these names (of any, if none is given): its id, its name, its data."""
        with trio.fail_after(PATIENCE):
            while True:
                lines = await self._lines()
                fields = dict(line.split(": ", 1) for line in lines)
                if "event" in fields and (not names or fields["event"] in names):
                    return fields["id"], fields["event"], json.loads(fields["data"])

    async def comment(self) -> str:
        """The next comment."""
        with trio.fail_after(PATIENCE):
            while True:
                lines = await self._lines()
                if lines[0].startswith(":"):
                    return lines[0]

    async def end(self) -> None:
        """Read until the stream ends."""
        with trio.fail_after(PATIENCE):
            while await self._stream.receive_some():
                pass

    async def head(self) -> list[str]:
        return (await self._until(b"\r\n\r\n")).split("\r\n")

    async def _lines(self) -> list[str]:
        return (await self._until(b"\n\n")).splitlines()

    async def _until(self, end: bytes) -> str:
        while end not in self._read:
            part = await self._stream.receive_some()
            assert part, f"the stream ended after {bytes(self._read)!r}"
            self._read += part
        text, _, self._read = self._read.partition(end)
        return text.decode()


@asynccontextmanager
async def watching(site: Site, last_id: str = "") -> AsyncIterator[Events]:
    url = site.client.base_url
    shown = {"host": url.netloc.decode(), **{k: v for k, v in site.client.headers.items() if k == "authorization"}}
    if last_id:
        shown["last-event-id"] = last_id
    async with await trio.open_tcp_stream(url.host, url.port or 0) as stream:
        lines = ["GET /api/events HTTP/1.0", *(f"{name}: {value}" for name, value in shown.items()), "", ""]
        await stream.send_all("\r\n".join(lines).encode())
        events = Events(stream)
        status, *headers = await events.head()
        assert "200" in status, status
        assert "content-type: text/event-stream; charset=utf-8" in headers
        yield events
