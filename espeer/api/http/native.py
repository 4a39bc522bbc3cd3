"""The native API under ``/api``: all that the command line does, described by ``/openapi.json``.

A route's function has the name of its verb, which is the operation's id, too.
"""

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import Field

from espeer.api import forms, parameters, verbs
from espeer.api.http import faults
from espeer.api.http.faults import NeedsKey
from espeer.api.http.guard import HAS_KEY
from espeer.api.http.served import ServedNode
from espeer.api.http.telling import Tell, Telling, described

_FROM_MODEL: Final = faults.documented(504)
_FROM_PEERS: Final = faults.documented(502)

router = APIRouter(
    prefix="/api",
    tags=["espeer"],
    responses=faults.documented(422),
    generate_unique_id_function=lambda route: route.name,
)


class AskHere(verbs.Ask):
    """A question, and whether its answer is to come in pieces."""

    stream: bool = Field(default=False, description="Answer with Server-Sent Events, piece by piece.")


_STREAMED: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The answer. With `stream`: events `piece` (data: a JSON string, the next piece of text), "
        "then one `answer` (data: the answer) or `error` (data: the error).",
        "content": described("piece", "answer", "error"),
    }
}


@router.post("/ask", response_model=forms.Answer, responses=_STREAMED | _FROM_MODEL | faults.WRITES)
async def ask(node: ServedNode, asked: AskHere) -> forms.Answer | Response:
    """Answer a question with the experiences that fit it best; the answer is kept for feedback."""
    if not asked.stream:
        return await asked.do(node)

    async def answer(tell: Tell) -> None:
        async def say(piece: str) -> None:
            await tell("piece", piece)

        await tell("answer", await asked.do(node, say))

    return Telling(answer)


@router.post("/choose", responses=_FROM_MODEL)
async def choose(node: ServedNode, asked: verbs.Choose) -> forms.Choice:
    """Pick one of several answers by the likelihood that the model gives them."""
    return await asked.do(node)


@router.post("/learn", responses=faults.WRITES)
async def learn(node: ServedNode, told: verbs.Learn) -> forms.Learnt:
    """Learn from something that happened; it is on disk when this answers, distilling and sharing follow."""
    return await told.do(node)


@router.post("/feedback", responses=faults.ABOUT_ONE | faults.WRITES)
async def feedback(node: ServedNode, told: verbs.Feedback) -> forms.Learnt:
    """Say what became of an answer: give a text, which is learnt from, or say whether it was good, or both."""
    return await told.do(node)


@router.post("/recall", responses=_FROM_PEERS)
async def recall(node: ServedNode, asked: verbs.Recall) -> list[forms.Hit]:
    """Find the experiences that fit a query best, best first."""
    return await asked.do(node)


@router.post("/flush", status_code=204, response_class=Response, responses=faults.WRITES)
async def flush(node: ServedNode) -> None:
    """Distil and publish everything learnt so far; answers when that is done."""
    await verbs.Flush().do(node)


@router.get("/status")
async def status(node: ServedNode) -> forms.Status:
    """Tell how the node is doing."""
    return await verbs.Status().do(node)


@router.get("/peers")
async def peers(node: ServedNode) -> list[forms.Peer]:
    """List the connected peers."""
    return await verbs.Peers().do(node)


@router.get("/experiences")
async def experiences(
    node: ServedNode, type: parameters.TypeName | None = None, limit: parameters.Limit = 100
) -> list[forms.Held]:
    """List the newest active experiences, newest first, of all topic types or of one."""
    return await verbs.Experiences(type=type, limit=limit).do(node)


@router.get("/experiences/{id}", responses=faults.ABOUT_ONE)
async def experience(node: ServedNode, id: parameters.IdPrefix) -> forms.Held:
    """Show the one experience whose id begins so."""
    return await verbs.Experience(id=id).do(node)


@router.get("/experiences/{id}/why", responses=faults.ABOUT_ONE)
async def why(node: ServedNode, id: parameters.IdPrefix) -> forms.Standing:
    """Tell where an experience stands, what it was made of, and what stands for what."""
    return await verbs.Why(id=id).do(node)


@router.post("/refine", responses=faults.WRITES)
async def refine(node: ServedNode, asked: verbs.Refine) -> forms.Outcome:
    """Refine the replica now: condense what is alike, and evict what there is no room for."""
    return await asked.do(node)


@router.post("/refine/preview")
async def preview_refinement(node: ServedNode, asked: verbs.PreviewRefinement) -> list[forms.Proposal]:
    """Show the groups that refining would deal with; nothing is changed."""
    return await asked.do(node)


@router.get("/refinements")
async def refinements(node: ServedNode, limit: parameters.Limit = 20) -> list[forms.Run]:
    """List the latest refinement runs, the latest first."""
    return await verbs.Refinements(limit=limit).do(node)


@router.post("/refinements/{run}/undo", responses=faults.ABOUT_ONE | faults.WRITES)
async def undo_refinement(node: ServedNode, run: parameters.Number) -> forms.Undone:
    """Take a refinement run back."""
    return await verbs.UndoRefinement(run=run).do(node)


@router.post("/invite")
async def invite(node: ServedNode, request: Request) -> forms.Invitation:
    """Make a ticket by which another node joins the network. Of a private network it is a secret: that needs a key."""
    if node.config.psk is not None and not request.scope.get(HAS_KEY):
        raise NeedsKey(
            "a private network's ticket is a secret, and this node's HTTP has no key; use `espeer invite`, or --http-key-file"
        )
    return await verbs.Invite().do(node)
