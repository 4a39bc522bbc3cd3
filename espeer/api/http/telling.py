"""Responses that tell what happens while it happens, by Server-Sent Events (WHATWG HTML, section 9.2)."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from espeer.api.http import faults
from espeer.errors import EspeerError
from espeer.log import get_logger

Tell = Callable[[str, Any], Awaitable[None]]
"""Sends an event: its name, and what is to be its data in JSON."""

log = get_logger(__name__)


def described(*events: str) -> dict[str, Any]:
    """Return the description of a stream's content, for OpenAPI: what each event is."""
    data = {"type": "string", "contentMediaType": "application/json"}
    event = {"type": "object", "properties": {"event": {"enum": list(events)}, "data": data}, "required": ["event", "data"]}
    return {Telling.media_type: {"schema": event}}


def frame(event: str, data: Any, *, id: str = "") -> str:
    """Return an event as it is sent. JSON has no line feeds in it, so one line of data will do."""
    known = f"id: {id}\n" if id else ""
    return f"{known}event: {event}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


class Telling(Response):
    """A stream of events.

    It begins with the first of them: what fails before that is answered with a status of its own. What fails later is told
    in an event named ``error``, which ends the stream.

    :param work: tells the events.
    """

    media_type = "text/event-stream"

    def __init__(self, work: Callable[[Tell], Awaitable[None]]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})  # nobody on the way may hold it back
        del self.headers["content-length"]
        self._work = work

    def written(self, event: str, data: Any) -> bytes:
        """Return an event as it is sent."""
        return frame(event, data).encode()

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do the work, and send what it tells."""
        begun = False

        async def tell(event: str, data: Any) -> None:
            nonlocal begun
            if not begun:
                begun = True
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": self.written(event, data), "more_body": True})

        try:
            await self._work(tell)
        except EspeerError as error:
            if not begun:
                raise
            await tell("error", faults.body(error))
        except Exception:
            if not begun:
                raise
            log.exception("a request failed")
            await tell("error", faults.INTERNAL)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
