"""Logging: structlog in front, the standard library behind.

A library must not print by itself: without :func:`configure` records go to the standard loggers named ``espeer.*`` with
their fields as attributes, for the program that embeds a node to do with as it likes.

What is logged above DEBUG tells nothing of what was asked, answered or learnt, and no secret.
"""

import logging
import sys
import traceback
from collections.abc import Iterator
from typing import Any, Final, Literal, TextIO, cast

import structlog

from espeer.errors import EspeerError
from espeer.text import visible

LogFormat = Literal["auto", "human", "json"]
"""How records are written: for people, as lines of JSON, or for people on a terminal and as JSON otherwise."""

_WITHHELD: Final = "(what it says may hold texts; log at debug to see it)"

logging.getLogger("espeer").addHandler(logging.NullHandler())


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a structured logger over the standard one of that name."""
    logger = structlog.wrap_logger(
        logging.getLogger(name),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
    )
    return cast("structlog.stdlib.BoundLogger", logger)


def configure(level: int, stream: TextIO = sys.stderr, *, form: LogFormat = "auto") -> None:
    """Write what espeer logs to ``stream``, and the warnings of the libraries that it stands on."""
    people = form == "human" or (form == "auto" and stream.isatty())
    # rich's tracebacks, structlog's default, show local variables: texts, among others
    human = structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
    renderer: structlog.typing.Processor = human if people else structlog.processors.JSONRenderer()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info if level <= logging.DEBUG else _format_discreetly,
                *([_make_visible] if people else []),  # JSON has escapes of its own
                renderer,
            ],
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="%H:%M:%S" if people else "iso", utc=not people),
                structlog.stdlib.ExtraAdder(),
            ],
        )
    )
    logging.getLogger().addHandler(handler)
    logging.captureWarnings(capture=True)
    logging.getLogger("espeer").setLevel(level)


def _make_visible(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Leave nothing in a record that a terminal obeys, nor lines that look like other records: it may be a peer's."""
    for key, value in event.items():
        if isinstance(value, str):
            shown = visible(value)
            event[key] = shown.replace("\n", "\n    ") if key == "event" else shown
    return event


def _format_discreetly(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Show where an error came from, but what it says only if it is one of ours, or the system's."""
    info = event.pop("exc_info", None)
    error = (
        info[1] if isinstance(info, tuple) else info if isinstance(info, BaseException) else sys.exc_info()[1] if info else None
    )
    if error is not None:
        event["exception"] = "".join(_told(error)).rstrip()
    return event


def _told(error: BaseException) -> Iterator[str]:
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from _told(before)
        yield "which led to:\n"
    yield from traceback.format_tb(error.__traceback__)
    safe = isinstance(error, EspeerError | OSError)
    yield f"{type(error).__module__}.{type(error).__qualname__}: {error if safe else _WITHHELD}\n"
    if isinstance(error, BaseExceptionGroup):
        for number, inner in enumerate(error.exceptions, 1):
            yield f"number {number} of it:\n"
            yield from _told(inner)
