"""The native API under ``/api``: all that the command line does, described by ``/openapi.json``."""

from typing import Any

from fastapi import APIRouter

from espeer.api import verbs
from espeer.api.http.served import ServedNode

router = APIRouter(prefix="/api", tags=["espeer"])


@router.get("/status")
async def status(node: ServedNode) -> Any:
    """Tell how the node is doing."""
    return await verbs.Status().do(node)


@router.get("/peers")
async def peers(node: ServedNode) -> Any:
    """List the connected peers."""
    return await verbs.Peers().do(node)


@router.post("/recall")
async def recall(node: ServedNode, asked: verbs.Recall) -> Any:
    """Find the experiences that fit a query best, best first."""
    return await asked.do(node)
