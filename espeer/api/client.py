"""The other end of the control socket; the protocol is described in :mod:`espeer.api.control`."""

import json
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from espeer.errors import InputError, NodeNotRunning, RemoteError
from espeer.folder import socket_path

NOT_UTF8: Final = "the text is not UTF-8; convert it first, for example with iconv"
MAX_REQUEST: Final = 256 * 1024
"""The most bytes of a request, its line feed included."""
MAX_REPLY: Final = 64 * 1024 * 1024
"""The most bytes of a line of a reply."""


def request(
    data: Path,
    verb: str,
    params: Mapping[str, Any] | None = None,
    *,
    on_piece: Callable[[str], None] | None = None,
    seconds: float | None = None,
) -> Any:
    """Have the node on the data folder do something, and return its result.

    :param on_piece: called with each piece of an answer as it comes.
    :param seconds: how long to wait for each part of the reply; None for as long as it takes.
    :raises InputError: a text is not UTF-8, or far too long.
    :raises NodeNotRunning: no node runs on that folder.
    :raises TimeoutError: the node says nothing for so long.
    :raises RemoteError: the node answered with an error, whose message this carries.
    """
    line = encoded(verb, params or {})
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        try:
            connection.connect(str(socket_path(data)))
        except OSError as error:
            raise unreachable(data, error) from error
        with suppress(ConnectionError), connection.makefile("rb") as lines:  # the node is being stopped
            connection.sendall(line)
            while reply := lines.readline(MAX_REPLY):
                match read(reply):
                    case {"piece": str(piece)}:
                        if on_piece:
                            on_piece(piece)
                    case {"result": result}:
                        return result
    raise stopped(data)


def encoded(verb: str, params: Mapping[str, Any]) -> bytes:
    """Return a request's line.

    :raises InputError: a text is not UTF-8, or far too long.
    """
    try:  # bytes that are not UTF-8 come from the shell as lone surrogates
        line = json.dumps({"verb": verb, "params": dict(params)}, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError as error:
        raise InputError(NOT_UTF8) from error
    if len(line) > MAX_REQUEST:
        raise InputError(f"the text is too long: more than {MAX_REQUEST:,} bytes in all; shorten it")
    return line


def read(reply: bytes) -> Any:
    """Return what a line of a reply holds.

    :raises RemoteError: it is an error.
    """
    match json.loads(reply):
        case {"error": str(message)}:
            raise RemoteError(message)
        case other:
            return other


def unreachable(data: Path, error: OSError) -> NodeNotRunning:
    """Say that there is no node to connect to."""
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return NodeNotRunning(f"no node runs on {data}; start one with `espeer node --data {data}`")
    return NodeNotRunning(f"cannot reach the node on {data}: {error.strerror}")


def stopped(data: Path) -> NodeNotRunning:
    """Say that the node went away."""
    return NodeNotRunning(f"the node on {data} stopped before it answered; see its log")
