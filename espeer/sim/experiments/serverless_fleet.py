"""The two deployments of the experiment "serverless or server", as processes behind proxies that hold bytes back.

Peer to peer: every device is a peer. Client-server: every device is a client, and one more process is their server. The
model, its threads and all else are the same.
"""

import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import trio

from espeer.errors import EspeerError, NodeNotRunning
from espeer.folder import identity_path, private_folder
from espeer.p2p.identity import load_or_create
from espeer.sim import processes
from espeer.sim.experiments.serverless_found import SERVER, How, Kind
from espeer.sim.fleet import Device, Fleet, FleetError
from espeer.sim.proxies import HOST, Proxies

TYPE: Final = "faults"
_OPTIONS: Final = ("--threads", "1", "--no-http", "--episode-size", "1", "--no-refining", "--network", "sim", "--type", TYPE)
_MEET_SECONDS: Final = 60.0
_ASK_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.1
_CALM_AT_MOST: Final = 60.0


class Node:
    """A node of a deployment, which may be dead.

    :ivar peer_id: its peer id; it stays the same when it is started again.
    :ivar holds: whether it has a replica.
    """

    def __init__(self, name: str, data: Path, *, holds: bool) -> None:
        private_folder(data)
        self.name: Final = name
        self.data: Final = data
        self.holds: Final = holds
        self.peer_id: Final = load_or_create(identity_path(data)).peer_id
        self.options: list[str] = []
        self.process: Device | None = None

    async def ask(self, verb: str, **params: Any) -> Any:
        """Have it do something, see :mod:`espeer.api.control`.

        :raises EspeerError: it does not, or takes too long.
        """
        if self.process is None:
            raise NodeNotRunning(f"node {self.name} is dead")
        with trio.move_on_after(_ASK_SECONDS):
            return await trio.to_thread.run_sync(partial(self.process.ask, verb, **params), abandon_on_cancel=True)
        raise FleetError(f"node {self.name} did not answer {verb!r} within {_ASK_SECONDS:.0f} s")

    async def status(self) -> dict[str, Any]:
        """Return how it is doing."""
        status: dict[str, Any] = await self.ask("status")
        return status


class Deployment:
    """A running deployment.

    :ivar devices: what has a user.
    :ivar nodes: these, and the server if there is one.
    """

    def __init__(self, fleet: Fleet, nodes: Sequence[Node], proxies: Proxies) -> None:
        self.nodes: Final = tuple(nodes)
        self.devices: Final = tuple(node for node in nodes if node.name != SERVER)
        self.proxies: Final = proxies
        self._fleet = fleet

    @property
    def carried(self) -> int:
        """Bytes that went over the network so far, both ways, all that libp2p adds among them."""
        return self.proxies.carried.total()

    async def start(self, node: Node) -> None:
        """Start a node, or start it again, and wait until it is up."""
        node.process = self._fleet.start(node.name, *node.options)
        await trio.to_thread.run_sync(node.process.await_up, abandon_on_cancel=True)

    async def kill(self, node: Node) -> None:
        """End a node at once, as a power cut does."""
        process, node.process = node.process, None
        if process is not None:
            await trio.to_thread.run_sync(process.kill)

    async def lose(self, node: Node, how: How) -> None:
        """Lose a node."""
        if how == "killed":
            await self.kill(node)
        elif node.process is not None:
            node.process.process.send_signal(signal.SIGSTOP)

    async def bring_back(self, node: Node) -> None:
        """Have a node that was lost work again."""
        if node.process is None:
            await self.start(node)
        else:
            node.process.process.send_signal(signal.SIGCONT)

    async def meet(self) -> None:
        """Wait until every node has all the connections that it will have.

        :raises FleetError: one has not in time.
        """
        with trio.move_on_after(_MEET_SECONDS):
            for node in self.nodes:
                others = len(self.nodes) - 1 if node.holds else 1
                while (await node.status())["peers"] < others:  # noqa: ASYNC110 - another process tells us nothing by itself
                    await trio.sleep(_POLL_SECONDS)
            return
        raise FleetError(f"not every node found the others within {_MEET_SECONDS:.0f} s")

    async def calm(self, seconds: float) -> None:
        """Wait until no model has worked for so long: what they prepare in idle time is done."""
        deadline = trio.current_time() + _CALM_AT_MOST
        known, since = None, trio.current_time()
        while trio.current_time() < min(since + seconds, deadline):
            await trio.sleep(_POLL_SECONDS)
            found = [(await node.status())["busy_by_priority"] for node in self.nodes]
            if found != known:
                known, since = found, trio.current_time()

    async def recalled(self, node: Node, query: str) -> list[dict[str, Any]]:
        """Return what a node recalls; nothing where it reaches nobody."""
        try:
            hits: list[dict[str, Any]] = await node.ask("recall", query=query)
        except EspeerError:
            return []
        return hits


@asynccontextmanager
async def deployed(kind: Kind, *, devices: int, delay_ms: float, model: str, warming: bool = True) -> AsyncIterator[Deployment]:
    """Start a deployment; end its processes with the block.

    :param delay_ms: a round trip's, in milliseconds.
    :param warming: have peers prepare in idle time what they hold.
    """
    with TemporaryDirectory(prefix="espeer-") as name, Fleet(Path(name)) as fleet:
        async with trio.open_nursery() as nursery:
            names = [f"n{number + 1}" for number in range(devices)]
            nodes = [Node(name_, Path(name) / name_, holds=kind == "p2p") for name_ in names]
            if kind == "server":
                nodes.insert(0, Node(SERVER, Path(name) / SERVER, holds=True))
            by_name = {node.name: node for node in nodes}
            proxies = Proxies(partial(_pids, nodes), lambda name_: _port(by_name[name_]), delay=delay_ms / 2000)
            deployment = Deployment(fleet, nodes, proxies)
            await _configure(kind, nodes, proxies, nursery, model=model, warming=warming)
            try:
                async with trio.open_nursery() as starting:
                    for node in nodes:
                        starting.start_soon(deployment.start, node)
                await deployment.meet()
                yield deployment
            finally:
                with trio.CancelScope(shield=True):
                    for node in nodes:
                        await deployment.kill(node)  # nothing of theirs is kept
            nursery.cancel_scope.cancel()


async def _configure(
    kind: Kind, nodes: Sequence[Node], proxies: Proxies, nursery: trio.Nursery, *, model: str, warming: bool
) -> None:
    """Give every node its options: how others reach it, and whom it joins."""
    known: list[str] = []
    for node in nodes:
        node.options += [*_OPTIONS, *(("--model", model) if model else ())]
        if node.holds:
            port = await nursery.start(proxies.open, node.name)
            node.options += ["--announce", f"/ip4/{HOST}/tcp/{port}"]
            # nobody asks the server's own model: what it prepared for answers would be for nothing, at the clients' cost
            node.options += ["--role", "server" if kind == "server" else "peer"]
            node.options += [] if warming and kind == "p2p" else ["--no-warming"]
            node.options += [part for address in known for part in ("--bootstrap", address)]
            known.append(f"/ip4/{HOST}/tcp/{port}/p2p/{node.peer_id}")
        else:
            node.options += ["--role", "client", "--server", known[0]]


def _pids(nodes: Sequence[Node]) -> dict[int, str]:
    return {node.process.process.pid: node.name for node in nodes if node.process is not None}


def _port(node: Node) -> int | None:
    return None if node.process is None else processes.listening(node.process.process.pid)


def now() -> float:
    """Return seconds by a clock that does not jump."""
    return time.monotonic()
