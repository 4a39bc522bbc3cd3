"""An engine that keeps the accounts of what is asked of it, in front of one that works."""

from typing import Final

from espeer.llm.engine import Engine, Priority
from espeer.llm.model import Prompt, Sampling

_USUAL: Final = Sampling()


class Metered(Engine):
    """Passes on what is to be written, and notes what that was.

    :ivar said: what was written, in the order in which it was asked for.
    :ivar read, written: tokens.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.model)
        self._behind = engine
        self.said: list[str] = []
        self.read = 0
        self.written = 0

    @property
    def stopped(self) -> bool:
        """Whether the engine behind it has ended."""
        return self._behind.stopped

    async def complete(self, prompt: Prompt, sampling: Sampling = _USUAL, *, priority: Priority = Priority.INTERACTIVE) -> str:
        """Return the model's answer; see :meth:`espeer.llm.engine.Engine.complete`."""
        said = await self._behind.complete(prompt, sampling, priority=priority)
        self.said.append(said)
        self.read += self.model.size(prompt)
        self.written += self.model.count(said)
        return said
