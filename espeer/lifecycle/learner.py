"""The learner: from a stored interaction to a shared experience.

Everything it works on is in the store first, so it can be stopped at any point: what was not distilled is taken up again at
the next start. An interaction is learnt from only if it brings something that was not in the model or the replica before:
it was told by the user, or it is an answer that got feedback.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

import trio

from espeer.errors import ModelError, PromptTooLong, StoreError
from espeer.interaction import Interaction
from espeer.lifecycle.classify import classify
from espeer.lifecycle.distil import Distillate, distil, extract
from espeer.lifecycle.episodes import EpisodeBuffer
from espeer.llm.engine import Engine
from espeer.log import get_logger
from espeer.records import Experience, SignedRecord
from espeer.store import Store
from espeer.tasks import in_thread

_RETRY_SECONDS = 30.0

log = get_logger(__name__)


class Keeper(Protocol):
    """Where experiences go: the replica, or a client's queue for its server."""

    @property
    def types(self) -> Sequence[str]:
        """The topic types that they may be of."""

    def add(self, records: Sequence[SignedRecord], *, via: str, episode: int | None = None) -> list[SignedRecord]:
        """Store records, and note that the episode is done with; see :meth:`espeer.replica.Replica.add`."""


class Learner:
    """Groups interactions into episodes, distils the closed ones, and hands the experiences on.

    :param keeper: where they go; a StoreError from it leaves an episode for later.
    :param author: our public key.
    :param sign: makes a signed record of an experience of ours.
    :param publish: tells the network of a new record; must not block.
    :param check_room: raises a StoreError while there is no room for another experience, before the model works for it.
    :param clock: milliseconds since the Unix epoch.
    """

    def __init__(
        self,
        store: Store,
        keeper: Keeper,
        engine: Engine,
        *,
        author: bytes,
        sign: Callable[[Experience], SignedRecord],
        publish: Callable[[Sequence[SignedRecord]], None],
        clock: Callable[[], int],
        episode_size: int,
        episode_age: float,
        check_room: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._engine = engine
        self._author = author
        self._sign = sign
        self._publish = publish
        self._clock = clock
        self._check_room = check_room
        self._buffer = EpisodeBuffer(size=episode_size, age_ms=round(episode_age * 1000))
        self._buffer_changed = trio.Event()
        self._unclosed: list[Sequence[Interaction]] = []  # the store had no room for closing them
        self._closing = trio.Lock()
        self._pending: set[int] = set()
        self._pending_done = trio.Event()
        self._closed_in, self._closed_out = trio.open_memory_channel[int](math.inf)  # numbers only; the store holds the rest

    @property
    def waiting(self) -> int:
        """Number of interactions in open episodes and of closed episodes not distilled yet."""
        return len(self._buffer) + len(self._unclosed) + len(self._pending)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled; then close the open episodes, to be distilled at the next start."""
        for number in await in_thread(self._store.pending_episodes):
            self._enqueue(number)
        for interaction in await in_thread(self._store.open_interactions):
            await self.take(interaction)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._close_due)
                nursery.start_soon(self._distil_closed)
                task_status.started()
        finally:
            with trio.CancelScope(shield=True), suppress(StoreError):  # without room they are open still at the next start
                await self._close_all(self._buffer.take_all())

    async def take(self, interaction: Interaction) -> None:
        """Put a stored interaction into its episode."""
        closed = self._buffer.add(interaction, now_ms=_now_ms())
        if closed is not None:
            await self._try_to_close([closed])
        self._buffer_changed.set()

    async def flush(self) -> None:
        """Close all episodes now, and return when everything taken so far is distilled.

        :raises StoreFull: no room to close them; they are kept.
        """
        await self._close_all(self._buffer.take_all())
        wanted = set(self._pending)
        while wanted & self._pending:
            await self._pending_done.wait()

    def _enqueue(self, number: int) -> None:
        self._pending.add(number)
        self._closed_in.send_nowait(number)

    async def _close_all(self, episodes: Sequence[Sequence[Interaction]]) -> None:
        """Close these episodes and those that could not be closed before; what fails is kept."""
        self._unclosed += episodes
        async with self._closing:
            while self._unclosed:
                ids = [member.id for member in self._unclosed[0]]
                number = await in_thread(lambda ids: self._store.close_episode(ids, now_ms=self._clock()), ids)
                del self._unclosed[0]
                self._enqueue(number)

    async def _try_to_close(self, episodes: Sequence[Sequence[Interaction]]) -> None:
        try:
            await self._close_all(episodes)
        except StoreError as error:
            log.warning("cannot close an episode now, will try again", reason=str(error))

    async def _close_due(self) -> None:
        while True:
            due_ms = self._buffer.next_due_ms()
            retry = trio.current_time() + (_RETRY_SECONDS if self._unclosed else math.inf)
            with trio.move_on_at(min(retry, math.inf if due_ms is None else due_ms / 1000)):
                await self._buffer_changed.wait()
                self._buffer_changed = trio.Event()
            await self._try_to_close(self._buffer.take_due(_now_ms()))

    async def _distil_closed(self) -> None:
        async with trio.open_nursery() as nursery:
            async for number in self._closed_out:
                if await self._is_done_with(number):
                    self._pending.discard(number)
                    self._pending_done.set()
                    self._pending_done = trio.Event()
                else:
                    nursery.start_soon(self._put_back_later, number)

    async def _put_back_later(self, number: int) -> None:
        """Where the store is full or the model busy that may pass; others need not wait for it."""
        await trio.sleep(_RETRY_SECONDS)
        self._closed_in.send_nowait(number)

    async def _is_done_with(self, number: int) -> bool:
        try:
            await self._learn_from(number)
        except (StoreError, ModelError) as error:
            log.warning("cannot learn now, will try again", episode=number, reason=str(error))
            return False
        except Exception:  # a fault of ours must not end the node, nor come back at once
            log.exception("cannot learn from an episode; it is left for the next start", episode=number)
        return True

    async def _learn_from(self, number: int) -> None:
        await in_thread(self._check_room)
        episode = [await self._without_echo(interaction) for interaction in await in_thread(self._store.episode, number)]
        held, named = self._keeper.types, episode[0].type
        if named and named not in held:
            log.info("left until its type is held again", episode=number, type=named)
            return
        try:
            distillate = await distil(self._engine, episode)
        except PromptTooLong:  # a long episode and a small context
            distillate = Distillate(extract(episode), "extractive")
        type_ = named or await classify(self._engine, distillate.text, held)
        experience = Experience(
            type=type_,
            text=distillate.text,
            created=self._clock(),
            author=self._author,
            model=self._engine.model.name,
            method=distillate.method,
        )
        signed = self._sign(experience)
        await in_thread(lambda: self._keeper.add([signed], via="own", episode=number))
        self._publish([signed])
        log.info("learnt", episode=number, id=signed.id.hex()[:12], type=type_, method=distillate.method)

    async def _without_echo(self, interaction: Interaction) -> Interaction:
        """Drop a response that recall had a part in: what it says was known already."""
        if interaction.source == "answer" and await in_thread(self._store.was_augmented, interaction.id):
            return replace(interaction, response="")
        return interaction


def _now_ms() -> int:
    """Trio's clock, in milliseconds: episodes age in virtual time in tests and simulations."""
    return round(trio.current_time() * 1000)
