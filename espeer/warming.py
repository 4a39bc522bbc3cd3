"""In idle time the model prepares for what will be asked: it works out the states of experiences likely to be recalled.

Experiences that answers used lately come first, and the newest, in turn. What a model keeps is bounded, and it forgets what was
used longest ago; so warming ends where it costs something that it had warmed before.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from espeer.errors import EspeerError, PromptTooLong
from espeer.lifecycle import prompts
from espeer.llm.engine import Engine
from espeer.llm.model import Note, Prompt
from espeer.log import get_logger

CALM_SECONDS: Final = 2.0
"""The model is idle when nothing was asked of it for so long."""

PAUSE_SECONDS: Final = 3.0
"""At least so long lies between two rounds, whatever happens: records often come many at a time."""

RETRY_SECONDS: Final = 60 * 60.0
"""After so long there may be room for more: what filled it is not used any more."""

MOST: Final = 128
"""The most prompts that a round looks at: the plain one, and one for each experience."""

log = get_logger(__name__)


class Warming:
    """Warms a model's caches for the prompts of :func:`espeer.lifecycle.prompts.ask`.

    Call :meth:`wake` when something happened that can change what is likely to be recalled.

    :param likely: gives so many experiences at most, the likeliest first.
    :param ranks: how many experiences a prompt has, at most.
    """

    def __init__(self, engine: Engine, likely: Callable[[int], Awaitable[Sequence[Note]]], *, ranks: int) -> None:
        self._engine = engine
        self._likely = likely
        self._ranks = max(1, ranks)
        self._room = MOST
        self._retry_at = 0.0
        self._woken = trio.Event()

    def wake(self) -> None:
        """Have another look soon."""
        self._woken.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Warm at the start, and whenever there is reason to, until cancelled."""
        task_status.started()
        while True:
            self._woken = trio.Event()
            try:
                await self._round()
            except EspeerError as error:
                log.debug("cannot warm now, will try again", reason=str(error))
            except Exception:  # a fault of ours must not end the node
                log.exception("warming failed, will try again")
            await self._woken.wait()
            await trio.sleep(PAUSE_SECONDS)

    async def _round(self) -> None:
        await self._engine.idle(CALM_SECONDS)
        if trio.current_time() >= self._retry_at:
            self._room = MOST
        notes = await self._likely(self._room - 1)
        wanted = [prompts.ask("", ()), *(prompts.ask("", [note]) for note in notes)]
        warm = set(await self._warm_ones(wanted))
        for prompt in [prompt for prompt in wanted if prompt not in warm]:
            if not await self._warmed(prompt):
                continue
            warm.add(prompt)
            still_warm = await self._warm_ones([prompt for prompt in wanted if prompt in warm])
            if len(still_warm) < len(warm):
                self._room = max(1, len(still_warm))
                self._retry_at = trio.current_time() + RETRY_SECONDS
                log.debug("the model keeps no more experiences warm", room=self._room)
                return

    async def _warm_ones(self, wanted: Sequence[Prompt]) -> list[Prompt]:
        """Return those that are warm. The likeliest is asked about last: that is a use, so it is the last to be forgotten."""
        return [prompt for prompt in reversed(wanted) if await self._engine.is_warm(prompt, self._ranks)]

    async def _warmed(self, prompt: Prompt) -> bool:
        """Warm one when the model has nothing else to do; return False if the context is too small for it."""
        await self._engine.idle(CALM_SECONDS)
        try:
            await self._engine.warm(prompt, self._ranks)
        except PromptTooLong:
            return False
        return True
