"""What becomes of errors over HTTP."""

from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.exceptions import HTTPException
from typing_extensions import TypedDict

from espeer import errors
from espeer.api.complaints import FAILED
from espeer.api.http.feed import TooManyWatchers
from espeer.api.http.guard import error_body
from espeer.api.http.served import NotReady
from espeer.log import get_logger


class NeedsKey(errors.EspeerError):
    """What is asked for is told only to those who show a key, and the node has none."""


_STATUS: Final[tuple[tuple[type[errors.EspeerError], HTTPStatus], ...]] = (  # the first that fits
    (NotReady, HTTPStatus.SERVICE_UNAVAILABLE),
    (NeedsKey, HTTPStatus.FORBIDDEN),
    (TooManyWatchers, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.QueueFull, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.ModelTimeout, HTTPStatus.GATEWAY_TIMEOUT),
    (errors.PromptTooLong, HTTPStatus.BAD_REQUEST),
    (errors.NotFound, HTTPStatus.NOT_FOUND),
    (errors.InputError, HTTPStatus.BAD_REQUEST),
    (errors.RecordError, HTTPStatus.BAD_REQUEST),
    (errors.StoreFull, HTTPStatus.INSUFFICIENT_STORAGE),
    (errors.NetworkError, HTTPStatus.BAD_GATEWAY),
)
_CODES: Final = {"PromptTooLong": "context_length_exceeded", "ModelUnknown": "model_not_found"}
"""OpenAI's, by which its clients tell errors apart."""

_OPENAI: Final = "/v1/"
_RETRY_SECONDS: Final = "2"
_MAX_NAME: Final = 100

_MEANINGS: Final = {
    400: "The request cannot be done as it is: an empty text, a number out of bounds, a topic type not held here.",
    401: "The node has a key, and the request has not.",
    403: "The request comes from a web page of another origin, or asks for a secret of a node whose HTTP has no key.",
    404: "What it names is not here.",
    408: "The request did not come in time.",
    413: "The request is too large.",
    421: "The node is not called by the name in the Host header.",
    422: "A parameter is missing, unknown, or of the wrong type.",
    500: "The node failed at this; its log says why.",
    502: "Other nodes that are needed for this cannot be reached.",
    503: "The node is loading or stopping, or has too much to do; try again later.",
    504: "The model had not begun to answer when the time for it was over.",
    507: "No room is left on the node's disk.",
}

log = get_logger(__name__)


class ErrorDetail(TypedDict):
    """What is wrong."""

    message: Annotated[str, Field(description="What is wrong and what to do about it, in one line.")]
    type: Annotated[str, Field(description="The kind of error, such as InputError or NotFound.")]
    param: Annotated[str | None, Field(description="The parameter that it is about, if it is about one.")]
    code: Annotated[str | None, Field(description="As OpenAI's; null for most.")]


class Error(TypedDict):
    """An error, in the form of OpenAI's."""

    error: ErrorDetail


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the description of error responses, for OpenAPI."""
    return {status: {"model": Error, "description": _MEANINGS[status]} for status in statuses}


ABOUT_ONE: Final = documented(404)
"""Of what is about something that may not be here."""
WRITES: Final = documented(507)
"""Of what needs room on the disk."""

INTERNAL: Final = error_body(FAILED, "InternalError")


def status_of(error: errors.EspeerError) -> HTTPStatus:
    """Return the HTTP status of one of our errors."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)


def body(error: errors.EspeerError) -> dict[str, Any]:
    """Return what is told of one of our errors."""
    told = str(error).encode(errors="replace").decode()  # it may quote half a character of the request
    return error_body(told, type(error).__name__, code=_CODES.get(type(error).__name__))


def response(error: errors.EspeerError) -> JSONResponse:
    """Return the response that tells of one of our errors."""
    status = status_of(error)
    headers = {"Retry-After": _RETRY_SECONDS} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return JSONResponse(body(error), status, headers)


async def _on_espeer_error(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, errors.EspeerError):
        raise error
    return response(error)


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    found: Any = error.errors()[0]
    loc = () if found["type"] == "json_invalid" else found["loc"][1:]  # the first says whether it is of path, query or body
    told = ".".join(map(str, loc))
    where = told[:_MAX_NAME].encode(errors="replace").decode()  # JSON can hold names that UTF-8 cannot
    why = found["msg"]
    if not where and isinstance(error.body, bytes):  # FastAPI has not read it as JSON: `curl -d` says that it is a form
        why = "give it as JSON, with the header Content-Type: application/json"
    status = HTTPStatus.BAD_REQUEST if request.url.path.startswith(_OPENAI) else HTTPStatus.UNPROCESSABLE_ENTITY
    return JSONResponse(error_body(f"{where or 'body'}: {why}", "InputError", param=where or None), status)


async def _on_http(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse(error_body(str(error.detail), "HTTPError"), error.status_code, error.headers)


async def _on_fault(_: Request, error: Exception) -> JSONResponse:
    log.error("a request failed", exc_info=error)
    return JSONResponse(INTERNAL, HTTPStatus.INTERNAL_SERVER_ERROR)


def install(app: FastAPI) -> None:
    """Have an app answer errors so."""
    app.add_exception_handler(errors.EspeerError, _on_espeer_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_fault)
