"""``GET /api/events``: what happens in the node, as Server-Sent Events, for the dashboard and whoever else watches.

A stream starts with `begin` (what happened lately, for the curves), `status` and `peers`. Then come `recorded` (with the
experience), `answered`, `refined` and `linked` as they happen; `status` and `peers`, whole, when they have changed; and `lost`
with the number of events that the client was too slow for. Whoever comes back with ``Last-Event-ID`` is told what it missed in
place of `begin`. A comment now and then shows that the stream is alive; it ends when the node stops.
"""

from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from espeer.api import forms, views
from espeer.api.http.feed import Feed, Happening, Watcher
from espeer.api.http.served import ServedNode
from espeer.api.http.telling import frame
from espeer.errors import EspeerError
from espeer.events import Answered, Recorded
from espeer.node import Node
from espeer.records import peer_id

HEARTBEAT_SECONDS: Final = 15.0

router = APIRouter(prefix="/api", tags=["espeer"])


@router.get("/events", include_in_schema=False)  # it never ends: clients made from the schema would wait for it
async def events(request: Request, node: ServedNode, last_event_id: Annotated[str, Header()] = "") -> Response:
    """Tell what happens in the node, until the client has heard enough."""
    return _EventStream(request.app.state.feed, node, last_event_id)


class _EventStream(Response):
    """A response that goes on. It sends by itself, since a generator would not be told that its reader has gone."""

    def __init__(self, feed: Feed, node: Node, last_id: str) -> None:
        super().__init__(media_type="text/event-stream", headers={"cache-control": "no-store"})
        del self.headers["content-length"]
        self._feed = feed
        self._node = node
        self._last_id = last_id

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell until the node stops, or the client is gone: then the guard cancels this."""
        with self._feed.watched(self._last_id) as watcher:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

            async def say(text: str) -> None:
                await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

            await say(": espeer\n\n")
            known = self._known(watcher)
            if watcher.begins:
                await say(frame("begin", self._feed.history.told(), id=known))
            while not watcher.closed:
                while watcher.snapshots:
                    name, snapshot = watcher.snapshots.popitem()
                    await say(frame(name, snapshot, id=known))
                while watcher.happenings and not watcher.closed:
                    if watcher.lost:
                        lost, watcher.lost = watcher.lost, 0
                        await say(frame("lost", {"n": lost}, id=self._known(watcher)))
                        continue
                    happening = watcher.happenings.popleft()
                    known = self._feed.id(happening.number)
                    await say(frame(type(happening.event).__name__.lower(), await self._told(happening), id=known))
                if not watcher.snapshots and not await watcher.news(HEARTBEAT_SECONDS):
                    await say(": alive\n\n")
        await send({"type": "http.response.body", "body": b""})

    def _known(self, watcher: Watcher) -> str:
        """The id of the last event before those that wait."""
        return self._feed.id(watcher.happenings[0].number - 1 if watcher.happenings else None)

    async def _told(self, happening: Happening) -> dict[str, Any]:
        event = happening.event
        told = {"at": happening.at, **asdict(event)}
        match event:
            case Recorded():
                told["author"] = peer_id(event.author)
                told["experience"] = await self._experience(event.id) if event.kind == "experience" else None
            case Answered():
                told["ttft_ms"], told["elapsed_ms"] = round(event.ttft_ms, 1), round(event.elapsed_ms, 1)
            case _:
                pass
        return told

    async def _experience(self, id: str) -> forms.Held | None:
        try:
            return views.held(await self._node.experience(id))
        except EspeerError:  # evicted since; or this is a client, which keeps none
            return None
