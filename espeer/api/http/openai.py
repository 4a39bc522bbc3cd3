"""The endpoint that OpenAI's clients know: ``/v1/chat/completions``, ``/v1/completions``, ``/v1/models``.

A request is a question as any other: it is recalled for, answered with experience, and captured.
"""

import json
import time
import uuid
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header
from typing_extensions import override

from espeer.api.http import faults
from espeer.api.http.openai_forms import ChatRequest, CompletionRequest, Envelope, model
from espeer.api.http.served import ServedNode
from espeer.api.http.telling import Tell, Telling
from espeer.errors import NotFound
from espeer.node import Node

ALIASES: Final = ("espeer", "default")
"""Names for the node's model, whichever it is."""

Capture = Annotated[
    Literal["yes", "no"], Header(alias="X-Espeer-Capture", description='"no": keep nothing of the question and its answer.')
]

_FROM_MODEL: Final = faults.documented(504, 507)
_CHUNK, _DONE = "chunk", "done"

router = APIRouter(prefix="/v1", tags=["OpenAI"], responses=faults.documented(404))
_started = int(time.time())


class ModelUnknown(NotFound):
    """A request names a model that the node does not have."""


@router.get("/models")
async def models(node: ServedNode) -> Any:
    """List the models: there is one."""
    return {"object": "list", "data": [model(node.model, created=_started)]}


@router.get("/models/{name:path}")
async def one_model(node: ServedNode, name: str) -> Any:
    """Show a model."""
    return model(_known(node, name), created=_started)


@router.post("/chat/completions", responses=_FROM_MODEL)
async def chat(node: ServedNode, request: ChatRequest, capture: Capture = "yes") -> Any:
    """Answer the last message of a conversation, with what is known about it."""
    return await _answered(node, request, capture)


@router.post("/completions", responses=_FROM_MODEL)
async def completions(node: ServedNode, request: CompletionRequest, capture: Capture = "yes") -> Any:
    """Answer a prompt, with what is known about it."""
    return await _answered(node, request, capture)


def _known(node: Node, name: str) -> str:
    if name not in (node.model, *ALIASES):
        raise ModelUnknown(
            f"this node has no model {name[:100]!r}; it has {node.model!r}, which {ALIASES[0]!r} stands for, too"
        )
    return node.model


async def _answered(node: Node, request: ChatRequest | CompletionRequest, capture: Literal["yes", "no"]) -> Any:
    is_chat = isinstance(request, ChatRequest)
    name = _known(node, ALIASES[0] if request.model is None else request.model)
    envelope = Envelope(chat=is_chat, name=uuid.uuid4().hex, created=int(time.time()), model=name)
    asked, options = request.asked(), request.options(capture=capture == "yes")
    if not request.stream:
        return envelope.whole(await node.ask(asked, options=options))

    async def stream(tell: Tell) -> None:
        first = True
        async with node.stream(asked, options=options) as stream:
            async for piece in stream:
                await tell(_CHUNK, envelope.piece(piece, first=first))
                first = False
            answer = await stream.answer()
        if first:
            await tell(_CHUNK, envelope.piece("", first=True))
        await tell(_CHUNK, envelope.end(answer))
        if request.tells_usage:
            await tell(_CHUNK, envelope.usage(answer))
        await tell(_DONE, None)

    return _Chunks(stream)


class _Chunks(Telling):
    """OpenAI's stream: its events have no names, and the last is no JSON."""

    @override
    def written(self, event: str, data: Any) -> bytes:
        return f"data: {'[DONE]' if event == _DONE else json.dumps(data, ensure_ascii=False)}\n\n".encode()
