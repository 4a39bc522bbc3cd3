"""The same clients alone, around a server, and as peers: real nodes, in one process, over loopback."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import trio

from espeer.config import Config
from espeer.errors import NetworkError
from espeer.events import Event, Recorded
from espeer.llm.engine import Engine
from espeer.node import Node

Deployment = Literal["alone", "server", "peers"]
"""Each client offline; all around a server that holds everything; all as peers, each with a replica."""

PATIENCE_SECONDS: Final = 120.0
"""What takes longer on loopback does not come any more."""

_POLL_SECONDS: Final = 0.02
_REPAIR_SECONDS: Final = 2.0
_SAME: Final = 1.0


class Heard:
    """Which records a node holds, by what it tells of them."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._news = trio.Event()

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, Recorded):
            self._ids.add(event.id)
            self._news.set()
            self._news = trio.Event()

    async def all_of(self, ids: Collection[str]) -> None:
        """Wait until the node holds these."""
        while not self._ids.issuperset(ids):
            await self._news.wait()


@dataclass(frozen=True, slots=True)
class Fleet:
    """The nodes of a deployment.

    :ivar clients: those that ask and learn.
    :ivar replicas: those that hold what is learnt.
    :ivar heard: what those of them hold that share it.
    """

    clients: Sequence[Node]
    replicas: Sequence[Node]
    heard: Sequence[Heard]

    async def converged(self, ids: Collection[str]) -> None:
        """Wait until all that share hold these records and nothing is on its way; then merge what is the same.

        A node that refines does that in its idle time. Without it a question that many ask fills the prompts with copies of
        one text.

        :param ids: hexadecimal.
        :raises NetworkError: they do not come to hold the same.
        """
        try:
            with trio.fail_after(PATIENCE_SECONDS):
                for heard in self.heard:
                    await heard.all_of(ids)
                for client in self.clients:
                    while (await client.status()).queued:  # noqa: ASYNC110 - a client does not tell of it
                        await trio.sleep(_POLL_SECONDS)
        except trio.TooSlowError as error:
            raise NetworkError(
                f"the nodes do not hold the same after {PATIENCE_SECONDS:.0f} s; go on when the machine has less to do"
            ) from error
        for node in self.replicas:
            await node.refine(scale="normalised", threshold=_SAME)


@asynccontextmanager
async def deployed(how: Deployment, engine: Engine, *, clients: int, type: str) -> AsyncIterator[Fleet]:
    """Open new nodes that know nothing, and close them in the end; what they hold goes with them.

    :param engine: the model of all of them.
    :param type: the topic type that they hold.
    """
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="espeer-", ignore_cleanup_errors=True)))

        async def add(name: str, **chosen: Any) -> Node:
            return await stack.enter_async_context(Node(_config(folder / name, type, **chosen), engine=engine))

        def hear(node: Node) -> Heard:
            heard = Heard()
            stack.enter_context(node.events.listening(heard))
            return heard

        names = [f"client-{number}" for number in range(1, clients + 1)]
        match how:
            case "alone":
                nodes = [await add(name, offline=True) for name in names]
                yield Fleet(nodes, nodes, [])
            case "server":
                server = await add("server", role="server")
                heard = hear(server)
                nodes = [await add(name, role="client", servers=tuple(server.addresses())) for name in names]
                yield Fleet(nodes, [server], [heard])
            case "peers":
                first = await add(names[0])
                nodes = [first, *[await add(name, bootstrap=tuple(first.addresses())) for name in names[1:]]]
                yield Fleet(nodes, nodes, [hear(node) for node in nodes])


def _config(data: Path, type: str, **chosen: Any) -> Config:
    """Return a node's settings: each interaction is an episode, and nothing is done unasked."""
    return Config(
        data=data,
        types=(type,),
        network="experiment",
        episode_size=1,
        capture=False,
        warming=False,
        refining=False,
        repair_interval=_REPAIR_SECONDS,
        recall_seconds=PATIENCE_SECONDS / 4,
        **chosen,
    )
