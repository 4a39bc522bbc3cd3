"""A node of this process that answers over HTTP, on a port of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from espeer import Config, FakeModel, Node
from espeer.api.http.served import Served
from espeer.api.http.server import serve
from espeer.api.http.settings import HttpSettings
from espeer.tasks import background


class Answering(NamedTuple):
    """The node, its URL, and what the server knows of it."""

    node: Node
    url: str
    served: Served


@asynccontextmanager
async def answering(
    folder: Path, model: FakeModel | None = None, *, key: str = "", names: tuple[str, ...] = (), **changes: object
) -> AsyncIterator[Answering]:
    """Open a node and answer HTTP."""
    config = Config(data=folder, **{"offline": True, "episode_age": 1e6} | changes)  # type: ignore[arg-type]
    served = Served()
    async with Node(config, model=model or FakeModel()) as node, background() as nursery:
        served.up(node)
        url = await nursery.start(serve, served, HttpSettings(address="127.0.0.1:0", key=key, names=names))
        yield Answering(node, url, served)
        served.down()
