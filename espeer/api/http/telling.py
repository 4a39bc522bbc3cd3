"""Responses that tell what happens while it happens, by Server-Sent Events (WHATWG HTML, section 9.2)."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from sse_starlette import ServerSentEvent
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from espeer.api.http import faults
from espeer.errors import EspeerError
from espeer.log import get_logger

Tell = Callable[[str, Any], Awaitable[None]]
"""Sends an event: its name, and what is to be its data in JSON."""

log = get_logger(__name__)


class Telling(Response):
    """A stream of events.

    It begins with the first of them: what fails before that is answered with a status of its own. What fails later is told
    in an event named ``error``, which ends the stream.

    :param work: tells the events.
    """

    media_type = "text/event-stream"

    def __init__(self, work: Callable[[Tell], Awaitable[None]]) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._work = work

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do the work, and send what it tells."""
        begun = False

        async def tell(event: str, data: Any) -> None:
            nonlocal begun
            if not begun:
                begun = True
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            sent = ServerSentEvent(json.dumps(data, ensure_ascii=False), event=event, sep="\n").encode()
            await send({"type": "http.response.body", "body": sent, "more_body": True})

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
