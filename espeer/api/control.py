"""The control socket: how the command line talks to a running node.

A Unix socket that only its user can open. One connection carries one request, a line of JSON
``{"verb": ..., "params": {...}}``, and its reply, lines of JSON: any number of ``{"piece": text}``, then one
``{"result": ...}`` or ``{"error": message, "kind": class name}``. A client that closes the connection cancels its request.
"""

import inspect
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, get_args, get_origin, get_type_hints

import trio

from espeer.api import views
from espeer.api.client import MAX_REQUEST
from espeer.asking import AskOptions
from espeer.errors import ControlError, EspeerError, InputError
from espeer.folder import private_folder
from espeer.log import get_logger
from espeer.node import Node
from espeer.scale import Scale
from espeer.tasks import background

_MAX_CONNECTIONS: Final = 64
_REQUEST_SECONDS: Final = 10.0
_NOISE: Final = 4096

Say = Callable[[dict[str, Any]], Awaitable[None]]

log = get_logger(__name__)


async def _ask(
    node: Node,
    say: Say,
    *,
    question: str,
    recall: int | None = None,
    type: str | None = None,
    max_tokens: int | None = None,
    temperature: float = 0.0,
    seed: int | None = None,
    stop: list[str] | None = None,
    timeout: float | None = None,  # noqa: ASYNC109 - travels in the request
) -> Any:
    options = AskOptions(max_tokens=max_tokens, temperature=temperature, seed=seed, stop=tuple(stop or ()), timeout=timeout)
    async with node.stream(question, recall=recall, type=type, options=options) as stream:
        async for piece in stream:
            await say({"piece": piece})
        return views.answer(await stream.answer())


async def _choose(
    node: Node, _: Say, *, question: str, choices: list[str], recall: int | None = None, type: str | None = None
) -> Any:
    return views.choice(await node.choose(question, choices, recall=recall, type=type))


async def _learn(
    node: Node, _: Say, *, text: str, response: str = "", feedback: str = "", type: str = "", wait: bool = False
) -> Any:
    return views.learnt(await node.learn(text, response=response, feedback=feedback, type=type, wait=wait))


async def _feedback(node: Node, _: Say, *, answer: int, text: str = "", good: bool | None = None) -> Any:
    return views.learnt(await node.feedback(answer, text, good=good))


async def _recall(node: Node, _: Say, *, query: str, k: int = 5, type: str | None = None) -> Any:
    return [views.hit(found) for found in await node.recall(query, k=k, type=type)]


async def _flush(node: Node, _: Say) -> Any:
    await node.flush()


async def _peers(node: Node, _: Say) -> Any:
    return [views.peer(peer) for peer in node.peers()]


async def _experiences(node: Node, _: Say, *, type: str | None = None, limit: int = 100) -> Any:
    return [views.held(held) for held in await node.experiences(type=type, limit=limit)]


async def _experience(node: Node, _: Say, *, id: str) -> Any:
    return views.held(await node.experience(id))


async def _refine(
    node: Node, _: Say, *, type: str | None = None, scale: str | None = None, threshold: float | None = None
) -> Any:
    return views.outcome(await node.refine(type=type, scale=_scale(scale), threshold=threshold))


async def _preview_refinement(
    node: Node, _: Say, *, type: str | None = None, scale: str | None = None, threshold: float | None = None
) -> Any:
    proposals = await node.preview_refinement(type=type, scale=_scale(scale), threshold=threshold)
    return [views.proposal(proposal) for proposal in proposals]


async def _refinements(node: Node, _: Say, *, limit: int = 20) -> Any:
    return [views.run(run) for run in await node.refinements(limit=limit)]


async def _undo_refinement(node: Node, _: Say, *, run: int) -> Any:
    return views.undone(await node.undo_refinement(run))


async def _why(node: Node, _: Say, *, id: str) -> Any:
    return views.why(await node.why(id))


async def _invite(node: Node, _: Say) -> Any:
    return views.invitation(node.invite())


async def _status(node: Node, _: Say) -> Any:
    return views.status(await node.status())


_VERBS: Final[dict[str, Callable[..., Awaitable[Any]]]] = {
    "ask": _ask,
    "choose": _choose,
    "learn": _learn,
    "feedback": _feedback,
    "recall": _recall,
    "flush": _flush,
    "peers": _peers,
    "experiences": _experiences,
    "experience": _experience,
    "refine": _refine,
    "preview_refinement": _preview_refinement,
    "refinements": _refinements,
    "undo_refinement": _undo_refinement,
    "why": _why,
    "invite": _invite,
    "status": _status,
}


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

    reply: dict[str, Any] | None = None
    try:
        with trio.fail_after(_REQUEST_SECONDS):
            request = await _request(stream)
        handle = _bound(request, node, say)
        async with background() as nursery:
            nursery.start_soon(_cancel_when_closed, stream, nursery.cancel_scope)
            reply = {"result": await handle()}
    except EspeerError as error:
        reply = {"error": str(error), "kind": type(error).__name__}
    except (trio.BrokenResourceError, trio.TooSlowError):
        return  # nobody there, or nobody who talks
    except Exception:  # a fault of ours must not take the node down
        log.exception("a request failed")
        reply = {"error": "the node failed at this; its log says why", "kind": "InternalError"}
    if reply is not None:
        await say(reply)


def _scale(name: str | None) -> Scale | None:
    for scale in get_args(Scale):
        if name == scale:
            return scale  # type: ignore[no-any-return]  # what get_args takes out of the Literal
    if name is None:
        return None
    raise InputError(f"scale: give {' or '.join(get_args(Scale))}")


def _is_of(kind: Any, value: object) -> bool:
    """Whether a JSON value is of an annotated type: str, int, float, bool, list[str], or one of those or None."""
    match get_origin(kind):
        case None:
            return type(value) is kind or (kind is float and type(value) is int)
        case origin if origin is list:
            return isinstance(value, list) and all(type(item) is str for item in value)
        case _:
            return any(_is_of(part, value) for part in get_args(kind))


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


def _bound(request: Any, node: Node, say: Say) -> Callable[[], Awaitable[Any]]:
    match request:
        case {"verb": str(verb), "params": dict(params)} if verb in _VERBS:
            try:
                inspect.signature(_VERBS[verb]).bind(node, say, **params)
            except TypeError as error:
                raise InputError(f"{verb}: {error}") from error
            kinds = get_type_hints(_VERBS[verb])
            if wrong := [name for name, value in params.items() if not _is_of(kinds[name], value)]:
                raise InputError(f"{verb}: {', '.join(wrong)} is not of its type")
            return partial(_VERBS[verb], node, say, **params)
        case _:
            raise ControlError(f"a request names a verb of {', '.join(_VERBS)} and its params")


def _is_same_user(stream: trio.SocketStream) -> bool:
    """Ask the kernel who called, where it tells: a second lock behind the socket's file mode."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return bool(uid == os.getuid())
