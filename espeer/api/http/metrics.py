"""``/metrics`` for Prometheus, and what is counted of HTTP itself."""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from espeer.api.http.guard import OPEN_FOLDER, App, Message, Receive, Scope, Send
from espeer.api.http.mcp import PATH as MCP_PATH
from espeer.api.http.served import Served, ServedNode
from espeer.metrics import Meter, of_peers, of_status
from espeer.tasks import in_thread

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER: Final = "other"
_ABORTED: Final = "aborted"
_process: Final = ProcessCollector(registry=None)

_TEXT: Final = {"schema": {"type": "string"}}

router = APIRouter(tags=["operations"])


class Counted:
    """Counts the requests to an app (ASGI middleware), those that its guard refuses, too.

    A request is counted when it is over, by its route's template; whatever leads nowhere is one route, ``other``.
    """

    def __init__(self) -> None:
        self._requests = Counter[tuple[str, str, str]]()
        self._under_way = self._streams = 0

    def around(self, app: App) -> App:
        """Return the app, counted."""
        return partial(self._count, app)

    async def _count(self, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        code = _ABORTED  # where the client went before an answer began
        is_stream = False

        async def send_on(message: Message) -> None:
            nonlocal code, is_stream
            if message["type"] == "http.response.start":
                code = str(message["status"])
                is_stream = any(
                    key == b"content-type" and value.startswith(b"text/event-stream") for key, value in message["headers"]
                )
                self._streams += is_stream
            await send(message)

        self._under_way += 1
        try:
            await app(scope, receive, send_on)
        finally:
            self._under_way -= 1
            self._streams -= is_stream
            method = scope["method"] if scope["method"] in _METHODS else _OTHER
            self._requests[method, _template(scope), code] += 1

    def collect(self) -> Iterator[Metric]:
        """Return what was counted."""
        requests = CounterMetricFamily(
            "espeer_http_requests", "HTTP requests that are over.", labels=["method", "route", "code"]
        )
        for labels, number in sorted(self._requests.items()):
            requests.add_metric(labels, number)
        yield requests
        yield GaugeMetricFamily("espeer_http_requests_in_progress", "HTTP requests under way.", value=self._under_way)
        yield GaugeMetricFamily("espeer_http_streams", "Event streams (SSE) that are open.", value=self._streams)


def _template(scope: Scope) -> str:
    """The route's template. FastAPI leaves that of its own routes in the scope; the others have no parts that vary."""
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str):
        return path
    if scope["path"] == MCP_PATH:
        return MCP_PATH
    return OPEN_FOLDER if scope["path"].startswith(OPEN_FOLDER) else _OTHER


class Metrics:
    """What is counted from the server's start on.

    :param served: the node, when it is up.
    """

    def __init__(self, served: Served) -> None:
        self._served = served
        self.meter = Meter()
        self.http = Counted()

    async def run(self) -> None:
        """Count what happens in the node, until it stops."""
        await self._served.is_up.wait()
        with self._served.node.events.listening(self.meter.hear):
            await self._served.is_down.wait()


class _Gathered:
    """What was gathered for one scrape, as a collector."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        yield from self._families
        yield from _process.collect()


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "Metrics.", "content": {"text/plain": _TEXT, "application/openmetrics-text": _TEXT}}},
)
async def metrics(request: Request, node: ServedNode) -> Response:
    """Tell Prometheus how the node is, in its text format or as OpenMetrics."""
    counted: Metrics = request.app.state.metrics
    status, peers = await node.status(), node.peers()
    registry = CollectorRegistry()
    registry.register(
        _Gathered(
            [
                *of_status(status),
                *of_peers(peers, status.types),
                *counted.meter.collect(),
                *counted.http.collect(),
            ]
        )
    )
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(await in_thread(encode, registry), headers={"Content-Type": content_type})
