"""MCP over HTTP at ``/mcp``: "streamable HTTP", old and new versions of it.

The guard stands before it, and has checked Host, Origin, key and size when a request gets here.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import APIRouter
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings

from espeer.api.http.guard import MAX_BODY
from espeer.api.http.served import Served
from espeer.api.mcp import make_server
from espeer.api.verbs import VERBS

PATH: Final = "/mcp"
_MAX_SESSIONS: Final = 64
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


def make_router(served: Served) -> APIRouter:
    """Make what serves MCP, for one app."""
    manager = StreamableHTTPSessionManager(
        make_server(InProcess(served)),
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),  # that is the guard's business
        session_idle_timeout=_IDLE_SECONDS,
        max_request_body_size=MAX_BODY,
        max_sessions=_MAX_SESSIONS,
    )

    @asynccontextmanager
    async def running(_: object) -> AsyncIterator[None]:
        async with manager.run():
            yield

    router = APIRouter(lifespan=running)
    app: Any = StreamableHTTPASGIApp(manager)  # an ASGI app, which may stand for an endpoint, though it is typed otherwise
    router.add_route(PATH, app, include_in_schema=False)
    return router
