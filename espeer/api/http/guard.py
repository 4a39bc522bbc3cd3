"""Who may speak to the node over HTTP, and how much: stands before everything else (ASGI middleware).

A web page that the user looks at can send requests here, too. It is told apart by headers that scripts cannot set: ``Host``,
which names the page's own site where DNS rebinding led it here, ``Origin``, and ``Sec-Fetch-Site`` (W3C Fetch Metadata), which
stands in requests that have no origin, too: those for an image or a script, whose number and time tell a page something.
"""

import hmac
import ipaddress
import json
import re
from collections import deque
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from http import HTTPStatus
from typing import Any, Final

import trio

from espeer.api.http.settings import HttpSettings
from espeer.log import get_logger
from espeer.tasks import background

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY: Final = 1024 * 1024
BODY_SECONDS: Final = 10.0
GRACE_SECONDS: Final = 5.0
MAX_UNDER_WAY: Final = 64
"""Requests at a time, streams among them."""

OPEN: Final = frozenset({"/", "/health"})
"""Without a key: what tells nothing. Files of the dashboard lie under :data:`OPEN_FOLDER`."""
OPEN_FOLDER: Final = "/static/"

HAS_KEY: Final = "espeer.has_key"
"""In a request's scope: whether it came with the node's key. Without one, every user of this machine can ask."""

_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([0-9A-Za-z._-]{1,253}))(?::[0-9]{0,5})?")
_OTHER_SITES: Final = frozenset({"cross-site", "same-site"})  # another port of this machine is "same-site"

_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"content-security-policy",
        (
            b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
            b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
    ),
)
_NOT_KEPT: Final = (b"cache-control", b"no-store")
"""What is answered is of this moment, and may be private; files are neither."""

log = get_logger(__name__)


class Refused(Exception):
    """A request that goes no further.

    :param status: HTTP's.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Guard:
    """Lets requests through to an app that come from whom they may, are small enough, and are not too many.

    The body is read before the app sees the request. When the client goes away before the response is complete, the app is
    cancelled, whatever it is at.

    :param hearing: paths of apps that listen for that themselves: they are given :data:`GRACE_SECONDS` to end in their own way.
    """

    def __init__(self, app: App, settings: HttpSettings, *, hearing: Collection[str] = ()) -> None:
        self._app = app
        self._hearing = frozenset(hearing)
        self._key = settings.key
        self._names = frozenset({"localhost", *(name.lower() for name in settings.names)})
        self._room = trio.CapacityLimiter(MAX_UNDER_WAY)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection's request."""
        send = _with_headers(send, scope["path"])
        ticket = object()
        try:
            self._check(scope)
            body = await _body(scope, receive)
            holds = not _is_open(scope["path"])  # what needs no key holds up nobody who has it
            try:
                if holds:
                    self._room.acquire_on_behalf_of_nowait(ticket)
            except trio.WouldBlock as error:
                raise Refused(503, f"{MAX_UNDER_WAY} requests are under way already; try again later") from error
        except Refused as refused:
            await refuse(send, refused)
            return
        except _Gone:
            return
        try:
            await self._pass_on(scope, body, receive, send)
        finally:
            if holds:
                self._room.release_on_behalf_of(ticket)

    async def _pass_on(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        gone = trio.Event()
        complete = False
        messages = deque([{"type": "http.request", "body": body, "more_body": False}])

        async def receive_again() -> Message:
            if messages:
                return messages.popleft()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send_and_note(message: Message) -> None:
            nonlocal complete
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()
            if scope["path"] in self._hearing:
                await trio.sleep(GRACE_SECONDS)
            if not complete:  # the server says so after every response, too, and the app may have something to do yet
                nursery.cancel_scope.cancel()

        async with background() as nursery:
            nursery.start_soon(watch)
            if scope["method"] == "HEAD":
                scope, send = {**scope, "method": "GET"}, _head_only(send, nursery.cancel_scope)
            try:
                await self._app(scope, receive_again, send_and_note)
            except Exception:  # noqa: BLE001 - the app has logged it and answered with 500; it raises it for its server's log
                log.debug("a request failed", path=scope["path"])

    def _check(self, scope: Scope) -> None:
        headers = _Headers(scope)
        host = headers.one("host")
        if not self._is_ours(host):
            raise Refused(
                421, f"this node is not called {host[:100]!r}; use its IP address or localhost, or start it with --http-name"
            )
        origin = headers.one("origin")
        if origin and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):  # TLS may end at a proxy
            raise Refused(403, "a web page of another origin may not use this node")
        if headers.one("sec-fetch-site").lower() in _OTHER_SITES and not (
            headers.one("sec-fetch-mode") == "navigate"
            and headers.one("sec-fetch-dest") == "document"
            and _is_open(scope["path"])
        ):  # a link to the dashboard is fine
            raise Refused(403, "a web page of another site may not use this node")
        if headers.one("content-length") and headers.one("transfer-encoding"):
            raise Refused(400, "a body has a content-length or a transfer-encoding: who stands between may see another one")
        path = scope["path"]
        scope[HAS_KEY] = False
        if self._key and not _is_open(path):
            scheme, _, shown = headers.one("authorization").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(shown.strip().encode(), self._key.encode()):
                raise Refused(401, "this node asks for its key: send it as `Authorization: Bearer KEY`")
            scope[HAS_KEY] = True

    def _is_ours(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = (found[1] or found[2]).lower()
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _is_open(path: str) -> bool:
    return path in OPEN or path.startswith(OPEN_FOLDER)


class _Gone(Exception):
    """The client went away while it sent."""


class _Headers:
    def __init__(self, scope: Scope) -> None:
        self._all = scope["headers"]

    def one(self, name: str) -> str:
        """Return the header's value, or "".

        :raises Refused: it is there more than once: which one others would believe is not known.
        """
        found = [value for key, value in self._all if key == name.encode()]
        if len(found) > 1:
            raise Refused(400, f"the header {name} stands more than once")
        return found[0].decode("latin-1") if found else ""


async def _body(scope: Scope, receive: Receive) -> bytes:
    announced = _Headers(scope).one("content-length")
    if announced.isdecimal() and int(announced[:20]) > MAX_BODY:
        raise _too_large()
    body = bytearray()
    with trio.move_on_after(BODY_SECONDS) as timer:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            body += message.get("body", b"")
            if len(body) > MAX_BODY:
                raise _too_large()
            if not message.get("more_body", False):
                return bytes(body)
    if timer.cancelled_caught:
        raise Refused(408, f"the request did not come within {BODY_SECONDS:.0f} s")
    raise AssertionError("the loop ends by returning or raising")


def _too_large() -> Refused:
    return Refused(413, f"a request has at most {MAX_BODY:,} bytes")


def _head_only(send: Send, scope: trio.CancelScope) -> Send:
    """Send no body, and cancel the scope instead: a stream would go on for ever."""

    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b""})
            scope.cancel()

    return send_head


def _with_headers(send: Send, path: str) -> Send:
    further = _HEADERS if path.startswith(OPEN_FOLDER) else (*_HEADERS, _NOT_KEPT)

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {name for name, _ in message.get("headers", ())}
            message["headers"] = [*message.get("headers", ()), *(pair for pair in further if pair[0] not in there)]
        await send(message)

    return send_with_headers


async def refuse(send: Send, refused: Refused) -> None:
    """Answer a request that goes no further."""
    body = json.dumps(error_body(str(refused), "Refused")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    if refused.status == HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def error_body(message: str, kind: str, **further: object) -> dict[str, Any]:
    """Return an error in the form that OpenAI's clients read."""
    return {"error": {"message": message, "type": kind, "param": None, "code": None} | further}
