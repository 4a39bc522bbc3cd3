"""An engine whose model works out each thing once: what it said is kept in an experiment's journal.

Real nodes keep what they hold in folders and send it to each other. An experiment of such nodes that was stopped goes through
all of it again, and this makes that quick: only the model's work takes long. For the same reason two deployments, or two values
of a setting, that show the model the same prompt cost one evaluation.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import astuple
from typing import Any, Final, cast

from espeer.llm.engine import Engine, Priority
from espeer.llm.model import Message, Model, Prompt, Sampling, Score
from espeer.llm.shared import load_model
from espeer.sim.experiments.journal import digest
from espeer.sim.experiments.work import Work
from espeer.tasks import background

_USUAL: Final = Sampling()


class Remembering(Engine):
    """An engine that asks the model only what the journal does not hold.

    A prompt is known by its texts: the ids of its notes, which differ from run to run, do not count.
    """

    def __init__(self, model: Model, work: Work) -> None:
        super().__init__(model)
        self._done = work

    async def complete(self, prompt: Prompt, sampling: Sampling = _USUAL, *, priority: Priority = Priority.INTERACTIVE) -> str:
        """See :meth:`Engine.complete`."""
        ask = super().complete

        async def make() -> str:
            return await ask(prompt, sampling, priority=priority)

        return cast("str", await self._done.once(f"complete {digest([_texts(prompt), astuple(sampling)])}", make))

    async def score(
        self, prompt: Prompt, continuations: Sequence[str], *, priority: Priority = Priority.INTERACTIVE
    ) -> list[Score]:
        """See :meth:`Engine.score`."""
        ask = super().score

        async def make() -> list[tuple[float, int]]:
            return [(one.logprob, one.tokens) for one in await ask(prompt, continuations, priority=priority)]

        return [Score(*one) for one in await self._done.once(f"score {digest([_texts(prompt), *continuations])}", make)]


@asynccontextmanager
async def remembering(model: Model | str | None, work: Work) -> AsyncIterator[Remembering]:
    """Load a model for several nodes, as :func:`espeer.shared_model`, whose work the journal keeps."""
    loaded = await load_model(model) if model is None or isinstance(model, str) else model
    try:
        async with background() as nursery:
            engine = Remembering(loaded, work)
            await nursery.start(engine.run)
            yield engine
    finally:
        loaded.close()


def _texts(prompt: Prompt) -> list[Any]:
    return [[_turn(message) for message in prompt.messages], prompt.opening, prompt.shared]


def _turn(message: Message) -> list[Any]:
    return [message.role, message.lead, [note.text for note in message.notes], message.content]
