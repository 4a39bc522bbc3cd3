"""The native API's routes that bring records in and out, take them back, and tell of answers."""

from collections.abc import AsyncIterator
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from espeer import transfer
from espeer.api import forms, parameters, verbs, views
from espeer.api.http import faults
from espeer.api.http.served import ServedNode
from espeer.errors import InputError
from espeer.node import Node
from espeer.transfer import ExportPage

NDJSON: Final = "application/x-ndjson"
_LINES: Final[dict[str, Any]] = {"content": {NDJSON: {"schema": {"type": "string"}}}}

router = APIRouter(
    prefix="/api",
    tags=["records"],
    responses=faults.documented(422),
    generate_unique_id_function=lambda route: route.name,
)


@router.get("/answers/{number}", responses=faults.ABOUT_ONE)
async def answer(node: ServedNode, number: parameters.Number) -> forms.Given:
    """Tell of an answer that was given: what stood in its prompt, and what was learnt from it."""
    return await verbs.Answer(answer=number).do(node)


@router.post("/experiences/{id}/retract", responses=faults.ABOUT_ONE | faults.WRITES)
async def retract(node: ServedNode, id: parameters.IdPrefix) -> forms.Retracted:
    """Take an experience back that this node learnt; every node that hears of it hides it."""
    return await verbs.Retract(id=id).do(node)


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses=faults.ABOUT_ONE | {200: {"description": "A record a line, with the signed bytes themselves.", **_LINES}},
)
async def export(
    node: ServedNode,
    type: parameters.TypeName | None = None,
    own: parameters.OwnAlone = False,
    condensates: parameters.WithCondensates = False,
) -> StreamingResponse:
    """Give the records that the node has, in the order in which they came, one a line."""
    first = await node.export(type=type, own=own, condensates=condensates)  # what is wrong is told before it begins
    return StreamingResponse(_lines(node, first, type=type, own=own, condensates=condensates), media_type=NDJSON)


async def _lines(node: Node, page: ExportPage, *, type: str | None, own: bool, condensates: bool) -> AsyncIterator[str]:
    while True:
        yield "".join(transfer.line(transfer.fields(signed)) for signed in page.records)
        if page.next is None:
            return
        page = await node.export(after=page.next, type=type, own=own, condensates=condensates)


@router.post(
    "/import", operation_id="import", openapi_extra={"requestBody": {"required": True, **_LINES}}, responses=faults.WRITES
)
async def import_records(node: ServedNode, request: Request, first: parameters.FirstLine = 1) -> forms.Imported:
    """Take in lines of an export, 1 MiB of them at a time. Sound records are kept, all or none of them; others are refused."""
    try:
        text = (await request.body()).decode()
    except UnicodeError as error:
        raise InputError("the lines are not UTF-8") from error
    return views.imported(await node.import_lines(text.split("\n"), first=first))
