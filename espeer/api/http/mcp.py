"""MCP over HTTP at ``/mcp``: "streamable HTTP", old and new versions of it.

The guard stands before it, and has checked Host, Origin, key and size when a request gets here.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio
from fastapi import APIRouter

from espeer.api.http.guard import MAX_BODY, App, Receive, Scope, Send
from espeer.api.http.served import Served
from espeer.api.verbs import VERBS
from espeer.tasks import background, in_thread

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

PATH: Final = "/mcp"
_MAX_SESSIONS: Final = 256
_IDLE_SECONDS: Final = 30 * 60.0


class InProcess:
    """Calls a node in this process: an :class:`espeer.api.mcp_calls.Call`."""

    def __init__(self, served: Served) -> None:
        self._served = served

    async def __call__(self, verb: str, params: Mapping[str, Any]) -> Any:
        """Do it.

        :raises NotReady: the node is not up.
        """
        return await VERBS[verb].model_validate(params).do(self._served.node)


class _OnDemand:
    """The ASGI app, made when the first request comes: the SDK takes half a second to import, and 15 MB."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._wanted = trio.Event()
        self._ready = trio.Event()
        self._app: App | None = None

    async def run(self) -> None:
        """Serve until cancelled."""
        await self._wanted.wait()
        manager = await in_thread(_make_manager, self._served)
        async with manager.run():
            self._app = manager.handle_request
            self._ready.set()
            await trio.sleep_forever()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        self._wanted.set()
        await self._ready.wait()
        if self._app is not None:
            await self._app(scope, receive, send)


def _make_manager(served: Served) -> "StreamableHTTPSessionManager":
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager  # noqa: PLC0415 - see _OnDemand
    from mcp.server.transport_security import TransportSecuritySettings  # noqa: PLC0415

    from espeer.api.mcp import make_server  # noqa: PLC0415

    return StreamableHTTPSessionManager(
        make_server(InProcess(served)),
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),  # that is the guard's business
        session_idle_timeout=_IDLE_SECONDS,
        max_request_body_size=MAX_BODY,
        max_sessions=_MAX_SESSIONS,
    )


def make_router(served: Served) -> APIRouter:
    """Make what serves MCP, for one app."""
    app: Any = _OnDemand(served)  # an ASGI app may stand for an endpoint, though FastAPI types it otherwise

    @asynccontextmanager
    async def running(_: object) -> AsyncIterator[None]:
        async with background() as nursery:
            nursery.start_soon(app.run)
            yield

    router = APIRouter(lifespan=running)
    router.add_route(PATH, app, include_in_schema=False)
    return router
