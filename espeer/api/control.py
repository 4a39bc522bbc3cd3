"""The control socket: how the command line talks to a running node.

A Unix socket that only its user can open. One connection carries one request, a line of JSON
``{"verb": ..., "params": {...}}``, and its reply, lines of JSON: any number of ``{"piece": text}``, then one
``{"result": ...}`` or ``{"error": message, "kind": class name}``. A client that closes the connection cancels its request.
"""

import json
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import trio
from pydantic import ValidationError

from espeer.api.client import MAX_REQUEST
from espeer.api.complaints import FAILED, complaint
from espeer.api.verbs import VERBS, Ask, Verb
from espeer.errors import ControlError, EspeerError, InputError
from espeer.folder import private_folder
from espeer.log import get_logger
from espeer.node import Node
from espeer.tasks import background

_MAX_CONNECTIONS: Final = 64
_REQUEST_SECONDS: Final = 10.0
_NOISE: Final = 4096

log = get_logger(__name__)


async def serve(node: Node, path: Path, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Answer requests on the socket at ``path`` until cancelled. Whoever calls this holds the data folder."""
    room = trio.Semaphore(_MAX_CONNECTIONS)
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        await _bind(listening, path)
        try:
            async with trio.open_nursery() as nursery:
                task_status.started()
                while True:
                    await room.acquire()
                    connection, _ = await listening.accept()
                    nursery.start_soon(_converse, node, trio.SocketStream(connection), room)
        finally:
            _remove(path)


async def _bind(listening: trio.socket.SocketType, path: Path) -> None:
    private_folder(path.parent)
    _remove(path)  # left by a node that was killed; a living one would hold the data folder
    before = os.umask(0o177)  # the socket is its user's alone from its first moment on
    try:
        await listening.bind(str(path))
    finally:
        os.umask(before)
    listening.listen()


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _converse(node: Node, stream: trio.SocketStream, room: trio.Semaphore) -> None:
    try:
        async with stream:
            if _is_same_user(stream):
                await _answer(node, stream)
    except trio.BrokenResourceError:
        pass  # the client went away
    finally:
        room.release()


async def _answer(node: Node, stream: trio.SocketStream) -> None:
    async def say(message: dict[str, Any]) -> None:
        await stream.send_all(json.dumps(message).encode() + b"\n")

    async def say_piece(piece: str) -> None:
        await say({"piece": piece})

    reply: dict[str, Any] | None = None
    try:
        with trio.fail_after(_REQUEST_SECONDS):
            request = await _request(stream)
        verb = _verb(request)
        async with background() as nursery:
            nursery.start_soon(_cancel_when_closed, stream, nursery.cancel_scope)
            reply = {"result": await (verb.do(node, say_piece) if isinstance(verb, Ask) else verb.do(node))}
    except EspeerError as error:
        reply = {"error": str(error), "kind": type(error).__name__}
    except (trio.BrokenResourceError, trio.TooSlowError):
        return  # nobody there, or nobody who talks
    except Exception:  # a fault of ours must not take the node down
        log.exception("a request failed")
        reply = {"error": FAILED, "kind": "InternalError"}
    if reply is not None:
        await say(reply)


async def _cancel_when_closed(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    """Cancel the work for a client that closes its connection, or its half of it; what else it sends is of no interest."""
    with suppress(trio.BrokenResourceError):
        while await stream.receive_some(_NOISE):
            pass
    scope.cancel()


async def _request(stream: trio.SocketStream) -> Any:
    line = bytearray()
    while b"\n" not in line:
        part = await stream.receive_some(MAX_REQUEST)
        if not part or len(line) + len(part) > MAX_REQUEST:
            raise ControlError(f"a request is one line of JSON of at most {MAX_REQUEST} bytes")
        line += part
    try:
        return json.loads(line.partition(b"\n")[0])
    except (ValueError, RecursionError) as error:
        raise ControlError("a request is one line of JSON") from error


def _verb(request: Any) -> Verb:
    match request:
        case {"verb": str(name), "params": dict(params)} if name in VERBS:
            try:
                return VERBS[name].model_validate(params)
            except ValidationError as error:
                raise InputError(f"{name}: {complaint(error)}") from error
        case _:
            raise ControlError(f"a request names a verb of {', '.join(VERBS)} and its params")


def _is_same_user(stream: trio.SocketStream) -> bool:
    """Ask the kernel who called, where it tells: a second lock behind the socket's file mode."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return bool(uid == os.getuid())
