"""How the MCP tools reach a node: over its control socket, or within its process."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import trio

from espeer.api.client import MAX_REPLY, encoded, read, stopped, unreachable
from espeer.folder import socket_path

_CHUNK: Final = 64 * 1024


class Call(Protocol):
    """Has a node do something. A caller that is cancelled stops the node's work on it.

    :raises EspeerError: it could not be done; the message says why, in one line.
    """

    async def __call__(self, verb: str, params: Mapping[str, Any]) -> Any:
        """Do what a verb of :data:`espeer.api.verbs.VERBS` says; return the JSON form of what comes of it."""


class OverSocket:
    """Calls the node that runs on a data folder, whichever that is at the time.

    Not :func:`espeer.api.client.request` in a thread: that could not be cancelled.
    """

    def __init__(self, data: Path) -> None:
        self._data = data

    async def __call__(self, verb: str, params: Mapping[str, Any]) -> Any:
        """Do it.

        :raises NodeNotRunning: there is none.
        :raises RemoteError: the node answered with an error, whose message this carries.
        """
        line = encoded(verb, params)
        try:
            stream = await trio.open_unix_socket(str(socket_path(self._data)))
        except OSError as error:
            raise unreachable(self._data, error) from error
        async with stream:
            try:
                await stream.send_all(line)
                return await self._result(stream)
            except trio.BrokenResourceError as error:
                raise stopped(self._data) from error

    async def _result(self, stream: trio.SocketStream) -> Any:
        """Read over the pieces of an answer to its end."""
        buffer = bytearray()
        while part := await stream.receive_some(_CHUNK):
            buffer += part
            *lines, rest = buffer.split(b"\n") if b"\n" in part else (buffer,)
            for line in lines:
                match read(bytes(line)):
                    case {"result": result}:
                        return result
            buffer = rest
            if len(buffer) > MAX_REPLY:
                break
        raise stopped(self._data)
