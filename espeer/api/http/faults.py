"""What becomes of errors over HTTP."""

from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from espeer import errors
from espeer.api.http.guard import error_body
from espeer.api.http.served import NotReady
from espeer.log import get_logger

_STATUS: Final[tuple[tuple[type[errors.EspeerError], HTTPStatus], ...]] = (  # the first that fits
    (NotReady, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.QueueFull, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.ModelTimeout, HTTPStatus.GATEWAY_TIMEOUT),
    (errors.PromptTooLong, HTTPStatus.BAD_REQUEST),
    (errors.NotFound, HTTPStatus.NOT_FOUND),
    (errors.InputError, HTTPStatus.BAD_REQUEST),
    (errors.RecordError, HTTPStatus.BAD_REQUEST),
    (errors.StoreFull, HTTPStatus.INSUFFICIENT_STORAGE),
    (errors.NetworkError, HTTPStatus.BAD_GATEWAY),
)
_RETRY_SECONDS: Final = "2"

log = get_logger(__name__)


def status_of(error: errors.EspeerError) -> HTTPStatus:
    """Return the HTTP status of one of our errors."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)


def response(error: errors.EspeerError) -> JSONResponse:
    """Return the response that tells of one of our errors."""
    status = status_of(error)
    code = "context_length_exceeded" if isinstance(error, errors.PromptTooLong) else None
    headers = {"Retry-After": _RETRY_SECONDS} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return JSONResponse(error_body(str(error), type(error).__name__, code=code), status, headers)


async def _on_espeer_error(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, errors.EspeerError):
        raise error
    return response(error)


async def _on_invalid(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    found: Any = error.errors()[0]
    where = ".".join(str(part) for part in found["loc"] if part != "body")
    return JSONResponse(
        error_body(f"{where or 'body'}: {found['msg']}", "InputError", param=where or None), HTTPStatus.UNPROCESSABLE_ENTITY
    )


async def _on_http(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse(error_body(str(error.detail), "HTTPError"), error.status_code, error.headers)


async def _on_fault(_: Request, error: Exception) -> JSONResponse:
    log.error("a request failed", exc_info=error)
    return JSONResponse(error_body("the node failed at this; its log says why", "InternalError"), 500)


def install(app: FastAPI) -> None:
    """Have an app answer errors so."""
    app.add_exception_handler(errors.EspeerError, _on_espeer_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_fault)
