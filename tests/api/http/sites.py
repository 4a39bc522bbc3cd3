"""Nodes that answer HTTP: one in this process, one in a process of its own."""

import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from answering import answering

from espeer import FakeModel, Node

sys.path.insert(0, str(Path(__file__).parents[2] / "e2e"))  # processes.py: espeer nodes as processes

from processes import NodeProcess, Nodes, eventually

KEY = "a key of a test, not a secret one"


@asynccontextmanager
async def here(folder: Path, model: FakeModel | None = None, **config: Any) -> AsyncIterator[tuple[Node, httpx.AsyncClient]]:
    """A node in this process, and a client of its HTTP server."""
    async with (
        answering(folder, model, **{"warming": False} | config) as at,
        httpx.AsyncClient(base_url=at.url, timeout=30) as client,
    ):
        yield at.node, client


@dataclass(frozen=True)
class KeyedSite:
    """A node with a key, in a process of its own, and a client that shows the key."""

    node: NodeProcess
    url: str
    key: str
    client: httpx.Client


@contextmanager
def at_work(folder: Path, *options: str | Path) -> Iterator[tuple[NodeProcess, str]]:
    """A node in a process of its own, and the URL that it answers at."""
    with Nodes(folder) as nodes:
        node = nodes.start(folder / "d", "--http", "127.0.0.1:0", *options)
        found = eventually("it says where it answers", lambda: re.search(r"http://127\.0\.0\.1:\d+", node.said()))
        yield node, found.group()
        node.stop()


@contextmanager
def keyed(folder: Path) -> Iterator[KeyedSite]:
    """A node with a key, in a process of its own."""
    key = folder / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    with (
        at_work(folder, "--http-key-file", key) as (node, url),
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}) as client,
    ):
        yield KeyedSite(node, url, KEY, client)
