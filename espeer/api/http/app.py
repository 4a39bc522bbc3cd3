"""Everything that is answered over HTTP, put together."""

from typing import Annotated, Any, Final

from fastapi import FastAPI, Request, Security
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import Field
from typing_extensions import TypedDict

from espeer.api.http import dashboard, data, events, faults, mcp, metrics, native, openai
from espeer.api.http.feed import Feed
from espeer.api.http.served import Phase, Served, served

_KEY: Final = HTTPBearer(
    scheme_name="key",
    description="The node's HTTP key, where it has one: `--http-key-file`.",
    auto_error=False,  # the guard has looked at it
)
_ANYWHERE: Final = faults.documented(400, 401, 403, 408, 413, 421, 500, 503)
"""What the guard refuses, and what a node that loads or fails answers."""


class Health(TypedDict):
    """Whether the node can be asked."""

    status: Annotated[Phase, Field(description='"ready", or else why not.')]


_HEALTH: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "It can.", "model": Health},
    503: {"description": "It cannot, yet or any more.", "model": Health},
    **faults.documented(400, 403, 408, 413, 421),
}


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
    app.add_api_route("/health", _health, methods=["GET"], tags=["operations"], responses=_HEALTH)
    for router in (native.router, data.router, openai.router, metrics.router):
        app.include_router(router, dependencies=[Security(_KEY)], responses=_ANYWHERE)
    app.include_router(mcp.make_router(node))
    app.include_router(events.router)
    app.include_router(dashboard.router)
    return app
