"""Everything that is answered over HTTP, put together."""

from typing import Any, Final

from fastapi import FastAPI, Request, Security
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer

from espeer.api.http import data, events, faults, mcp, metrics, native, openai
from espeer.api.http.feed import Feed
from espeer.api.http.served import Served, served

_KEY: Final = HTTPBearer(
    scheme_name="key",
    description="The node's HTTP key, where it has one: `--http-key-file`.",
    auto_error=False,  # the guard has looked at it
)


async def _health(request: Request) -> Any:
    """Tell whether the node can be asked: 200 when it is up, 503 while it loads or stops."""
    phase = served(request).phase
    return JSONResponse({"status": phase}, 200 if phase == "ready" else 503)


def make_app(node: Served, *, version: str) -> FastAPI:
    """Make the app; it has no guard yet."""
    app = FastAPI(
        title="espeer",
        version=version,
        summary="A language model on every device, and what one learns, all know.",
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False, "auto_configure": False},
    )
    app.state.served = node
    app.state.feed = Feed(node)
    app.state.metrics = metrics.Metrics(node)
    faults.install(app)
    app.add_api_route("/health", _health, methods=["GET"], tags=["operations"])
    for router in (native.router, data.router, openai.router):
        app.include_router(router, dependencies=[Security(_KEY)])
    app.include_router(mcp.make_router(node))
    app.include_router(events.router)
    app.include_router(metrics.router, dependencies=[Security(_KEY)])
    return app
