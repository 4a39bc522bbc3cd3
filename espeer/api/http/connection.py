"""One connection: HTTP/1.1 (RFC 9112) between a stream and an ASGI app, read and written by h11.

Everything that a client can delay has a bound: the head of a request, what it does not take of a response, the time between
two requests. The body's is the guard's. Upgrades (WebSocket, HTTP/2) are passed over, as RFC 9110 allows.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final, cast
from urllib.parse import unquote

import h11
import trio

from espeer.api.http.guard import App, Message, Refused, Scope, refuse
from espeer.log import get_logger

IDLE_SECONDS: Final = 30.0
"""A connection without a request is closed after so long."""

HEAD_SECONDS: Final = 10.0
"""So long a request's head may take, from its first byte."""

TAKE_SECONDS: Final = 20.0
"""So long a client may take nothing of what it is sent."""

LINGER_SECONDS: Final = 1.0
"""So long is read on before a connection is closed, that a client gets to see the answer to what it still sends."""

MAX_HEAD: Final = 16 * 1024
"""What is not whole after so many bytes, and at most as many again, is no head."""

_MAX_AHEAD: Final = 64 * 1024  # of the next request, while the one before is under way
_MAX_LINGER: Final = 4 * 1024 * 1024
_CHUNK: Final = 64 * 1024
_BODILESS: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_VERSIONS: Final = frozenset({b"1.0", b"1.1"})

log = get_logger(__name__)


class Connection:
    """Answers the requests of a connection, one after the other.

    :param state: what the app's lifespan left for its requests.
    :param waits: is told since when the client is waited for (trio's clock), and None when it is not any more. For what comes
        of a request that is since it was waited for first: who sends a byte now and then has waited as long as who sends none.
    """

    def __init__(
        self,
        app: App,
        stream: trio.abc.HalfCloseableStream,
        state: Mapping[str, Any],
        waits: Callable[[float | None], None] = lambda _: None,
    ) -> None:
        self._app = app
        self._stream = stream
        self._state = state
        self._waits = waits
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._bodiless = False  # the response to the request under way has no body, whatever the app sends
        self._gone = False  # nobody takes what is sent
        self._since = 0.0  # the request was waited for

    async def run(self) -> None:
        """Go on until one side has enough, then close the stream."""
        try:
            while await self._exchange():
                self._http.start_next_cycle()
            await self._linger()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client went away
        except Exception:  # a fault of ours must not take the node down
            log.exception("a connection failed")
        finally:
            await trio.aclose_forcefully(self._stream)

    async def _exchange(self) -> bool:
        """Answer a request; return whether there can be another."""
        try:
            request = await self._next_head()
            if request is None:
                return False
            await self._app(self._scope(request), self._receive, self._send)
        except Refused as refused:
            await refuse(self._send, refused)
        except h11.RemoteProtocolError as error:
            await refuse(self._send, Refused(error.error_status_hint, f"this is not HTTP/1.1 as it should be: {error}"))
        if self._http.their_state is h11.ERROR and self._http.our_state is h11.SEND_RESPONSE:
            await refuse(self._send, Refused(HTTPStatus.BAD_REQUEST, "the request's body is not as HTTP/1.1 has it"))
        return not self._gone and self._http.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}

    async def _next_head(self) -> h11.Request | None:
        """Read a request's head; None where no other comes.

        :raises h11.RemoteProtocolError: this is no request.
        """
        self._since = trio.current_time()
        with self._waiting(self._since), trio.move_on_after(IDLE_SECONDS) as timer:
            begun = bool(self._http.trailing_data[0])
            while (event := self._http.next_event()) is h11.NEED_DATA:
                if begun:
                    timer.deadline = min(timer.deadline, trio.current_time() + HEAD_SECONDS)
                self._http.receive_data(bytes(await self._stream.receive_some(MAX_HEAD)))
                begun = True
            return event if isinstance(event, h11.Request) else None
        return None

    @contextmanager
    def _waiting(self, since: float) -> Iterator[None]:
        self._waits(since)
        try:
            yield
        finally:
            self._waits(None)

    def _scope(self, request: h11.Request) -> Scope:
        """Return what ASGI tells of a request.

        :raises Refused: it is of a kind that is for proxies, or of another version.
        """
        self._bodiless = request.method == b"HEAD"
        if request.http_version not in _VERSIONS:
            raise Refused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "speak HTTP/1.1")
        if not request.target.startswith(b"/"):
            raise Refused(HTTPStatus.BAD_REQUEST, "this is no proxy: ask for a path that begins with /")
        path, _, query = request.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": request.http_version.decode(),
            "method": request.method.decode(),
            "scheme": "http",
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": list(request.headers),
            "client": None,
            "server": None,
            "state": dict(self._state),
        }

    async def _receive(self) -> Message:
        """Give the app what comes of the body; then wait until the client goes away."""
        try:
            while self._http.their_state is h11.SEND_BODY:
                await trio.lowlevel.checkpoint()  # what came at once may be thousands of chunks
                event = self._http.next_event()
                if isinstance(event, h11.Data):
                    return {"type": "http.request", "body": bytes(event.data), "more_body": True}
                if isinstance(event, h11.EndOfMessage):
                    return {"type": "http.request", "body": b"", "more_body": False}
                if self._http.they_are_waiting_for_100_continue:
                    await self._write(h11.InformationalResponse(status_code=HTTPStatus.CONTINUE, headers=[]))
                with self._waiting(self._since):
                    self._http.receive_data(bytes(await self._stream.receive_some(_CHUNK)))
            while len(self._http.trailing_data[0]) < _MAX_AHEAD:
                data = bytes(await self._stream.receive_some(_CHUNK))
                self._http.receive_data(data)
                if not data:
                    return {"type": "http.disconnect"}
            await trio.sleep_forever()  # it sends ahead more than is read: whether it goes away is seen when it is written to
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        """Send what the app says; what it says too much is dropped, as is all that nobody takes any more."""
        await trio.lowlevel.checkpoint()  # an app whose messages are dropped must be cancelled all the same
        if message["type"] == "http.response.start":
            status = message["status"]
            self._bodiless = self._bodiless or status in _BODILESS
            headers = [*message.get("headers", ()), (b"date", formatdate(usegmt=True).encode())]
            await self._write(h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase.encode()))
            return
        if self._http.our_state is not h11.SEND_BODY:
            return
        body = message.get("body", b"")
        if body and not self._bodiless:
            await self._write(h11.Data(data=body))
        if not message.get("more_body", False):
            await self._write(h11.EndOfMessage())

    async def _write(self, event: h11.Event) -> None:
        data = self._http.send(cast("Any", event))
        if self._gone or not data:
            return
        for start in range(0, len(data), _CHUNK):
            with (
                self._waiting(trio.current_time()),
                trio.move_on_after(TAKE_SECONDS),
                suppress(trio.BrokenResourceError, trio.ClosedResourceError),
            ):
                await self._stream.send_all(data[start : start + _CHUNK])
                continue
            self._gone = True
            await trio.aclose_forcefully(self._stream)  # who waits for what it sends sees that it is gone
            return

    async def _linger(self) -> None:
        if self._gone:
            return
        with self._waiting(trio.current_time()), trio.move_on_after(LINGER_SECONDS):
            await self._stream.send_eof()
            left = _MAX_LINGER
            while left > 0 and (data := await self._stream.receive_some(_CHUNK)):
                left -= len(data)
