"""A model that says what a test has it say."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from espeer.llm.engine import Engine
from espeer.llm.fake import FakeModel
from espeer.llm.model import Prompt, Sampling

T = TypeVar("T")


async def with_replies(work: Callable[[Engine], Awaitable[T]], *replies: str, context: int = 2048) -> tuple[T, list[Prompt]]:
    """Return what comes of work with an engine that gives these replies, and what it was asked."""
    asked: list[Prompt] = []

    def reply(prompt: Prompt, _: Sampling) -> str:
        asked.append(prompt)
        return replies[len(asked) - 1]

    engine = Engine(FakeModel(reply, context=context), in_thread=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        result = await work(engine)
        nursery.cancel_scope.cancel()
    return result, asked
