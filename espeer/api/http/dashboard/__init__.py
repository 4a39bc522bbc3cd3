"""The dashboard: one page at ``/``, made of files that are shipped with espeer and load nothing from elsewhere.

The page holds no data; it fetches all of it from the native API and from ``/api/events``, with the key if there is one.
"""

import hashlib
from importlib.resources import files
from typing import Annotated, Final

from fastapi import APIRouter, Header
from fastapi.responses import Response
from starlette.exceptions import HTTPException

_PAGE: Final = "index.html"
_MEDIA_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_FILES: Final = {
    file.name: file.read_bytes()
    for file in files(__name__).joinpath("static").iterdir()
    if file.name.rpartition(".")[2] in _MEDIA_TYPES
}
"""Only what lies there can be asked for; a path is never put together from a request."""
_TAGS: Final = {name: f'"{hashlib.sha256(content).hexdigest()[:16]}"' for name, content in _FILES.items()}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page(if_none_match: Annotated[str, Header()] = "") -> Response:
    """Give the page."""
    return _file(_PAGE, if_none_match)


@router.get("/static/{name}")
async def static(name: str, if_none_match: Annotated[str, Header()] = "") -> Response:
    """Give a file of the page."""
    return _file(name, if_none_match)


def _file(name: str, known: str) -> Response:
    if name not in _FILES:
        raise HTTPException(404, "there is no such file")
    headers = {"etag": _TAGS[name], "cache-control": "no-cache"}  # another espeer may answer here tomorrow
    if known == _TAGS[name]:
        return Response(status_code=304, headers=headers)
    return Response(_FILES[name], media_type=_MEDIA_TYPES[name.rpartition(".")[2]], headers=headers)
