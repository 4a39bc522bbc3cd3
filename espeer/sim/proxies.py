"""Proxies: a TCP proxy in front of each node, the only address that others are told of; the runner can shut them.

A proxy knows who calls by asking the kernel which node's process holds the other end of the connection (Linux's /proc). So a
cut parts two groups of nodes and no others: connections between them are reset, and new ones are reset before a byte passes.
Real partitions are often silent instead; a reset is the faster way to notice, and resets are what can be made without
privileges. A proxy can also hold bytes back for as long as a link of that length would, and it counts them.
"""

import math
import socket
import struct
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio

from espeer.errors import NetworkError
from espeer.sim.processes import owner

HOST: Final = "127.0.0.1"
_CHUNK: Final = 64 * 1024
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time: close sends RST


@dataclass(slots=True)
class _Passage:
    """A connection through a proxy."""

    caller: str | None
    called: str
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class Proxies:
    """The proxies of a fleet.

    :param pids: gives the nodes' names by process id, as they are now.
    :param port: gives the port that a node itself listens on, None while it does not.
    :param delay: seconds that every byte takes, either way; their order is kept, and as many as come can be under way. TCP's
        own greeting is not delayed: to connect takes a round trip less than over a real link.
    :ivar carried: bytes passed on so far, of both directions, by the node that the proxy leads to.
    """

    def __init__(self, pids: Callable[[], Mapping[int, str]], port: Callable[[str], int | None], *, delay: float = 0.0) -> None:
        self.carried: Final = Counter[str]()
        self._delay = delay
        self._pids = pids
        self._port = port
        self._apart: tuple[frozenset[str], ...] = ()
        self._open: list[_Passage] = []

    async def open(self, name: str, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Pass on what comes for the node ``name`` until cancelled; started with the proxy's port."""
        (listener,) = await trio.open_tcp_listeners(0, host=HOST)
        task_status.started(listener.socket.getsockname()[1])
        await trio.serve_listeners(partial(self._pass, name), [listener])

    def cut(self, *groups: Collection[str]) -> None:
        """Part the groups from each other, until :meth:`heal`."""
        self._apart = tuple(map(frozenset, groups))
        for passage in self._open:
            if not self._may(passage):
                passage.scope.cancel()

    def heal(self) -> None:
        """Let everybody reach everybody again."""
        self._apart = ()

    def _may(self, passage: _Passage) -> bool:
        """A caller that nobody knows is nobody's friend."""
        return not self._apart or any({passage.caller, passage.called} <= group for group in self._apart)

    async def _pass(self, name: str, outside: trio.SocketStream) -> None:
        passage = _Passage(owner(_port(outside.socket.getpeername()), _port(outside.socket.getsockname()), self._pids()), name)
        port = self._port(name)
        if port is None or not self._may(passage):
            _reset(outside)
            return
        self._open.append(passage)
        try:
            with passage.scope:
                inside = await trio.open_tcp_stream(HOST, port)
                async with inside, trio.open_nursery() as nursery:
                    nursery.start_soon(self._carry, name, outside, inside, nursery.cancel_scope)
                    nursery.start_soon(self._carry, name, inside, outside, nursery.cancel_scope)
            if passage.scope.cancelled_caught:
                _reset(outside)
        except OSError:
            _reset(outside)  # the node is not there (any more)
        finally:
            self._open.remove(passage)

    async def _carry(self, name: str, source: trio.SocketStream, sink: trio.SocketStream, done: trio.CancelScope) -> None:
        """Pass bytes on until one side ends; then the whole connection ends, as libp2p uses no half-closed ones."""
        send, receive = trio.open_memory_channel[tuple[float, bytes]](math.inf)

        async def take() -> None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                while data := await source.receive_some(_CHUNK):
                    send.send_nowait((trio.current_time() + self._delay, data))
            send.close()  # those under way arrive yet

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                async for due, data in receive:
                    await trio.sleep_until(due)
                    self.carried[name] += len(data)
                    await sink.send_all(data)
                await trio.sleep(self._delay)  # as long as the news of the end takes
            nursery.cancel_scope.cancel()
        done.cancel()


def _port(address: object) -> int:
    match address:
        case (_, int(port), *_):
            return port
        case _:
            raise NetworkError(f"{address!r} is not an address of TCP over IP")


def _reset(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    stream.socket.close()
