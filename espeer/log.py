"""Logging: structlog in front, the standard library behind.

A library must not print by itself: without :func:`configure` records go to the standard loggers named ``espeer.*`` with
their fields as attributes, for the program that embeds a node to do with as it likes.
"""

import logging
import sys
from typing import TextIO, cast

import structlog

logging.getLogger("espeer").addHandler(logging.NullHandler())


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a structured logger over the standard one of that name."""
    logger = structlog.wrap_logger(
        logging.getLogger(name),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
    )
    return cast("structlog.stdlib.BoundLogger", logger)


def configure(level: int, stream: TextIO = sys.stderr) -> None:
    """Write what espeer logs to ``stream``: for people on a terminal, as JSON lines otherwise."""
    people = stream.isatty()
    renderers: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if people
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.processors.TimeStamper(fmt="%H:%M:%S" if people else "iso", utc=not people),
                structlog.stdlib.ExtraAdder(),
            ],
        )
    )
    logger = logging.getLogger("espeer")
    logger.addHandler(handler)
    logger.setLevel(level)
