"""One loaded model for several nodes of a process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from espeer.llm.engine import Engine
from espeer.llm.loading import open_model
from espeer.llm.model import Model
from espeer.llm.states import Spilling
from espeer.tasks import background

_MB: Final = 1024 * 1024


@asynccontextmanager
async def shared_model(
    model: Model | str | None = None,
    *,
    context: int | None = None,
    threads: int | None = None,
    kv_cache_mb: int = 128,
    max_waiting: int = 64,
    in_thread: bool = True,
) -> AsyncIterator[Engine]:
    """Load a model that several nodes use.

    ::

        async with (
            espeer.shared_model() as engine,
            espeer.Node(first, engine=engine) as one,
            espeer.Node(second, engine=engine) as other,
        ):
            ...

    Their requests wait in one queue: interactive ones of all nodes come before background work of any. The model is closed when
    the block is left; whoever still asks for something then gets ModelError. The nodes' own settings of the model count for
    nothing, and none of its KV states go to disk: those of several nodes would lie together.

    :param model: a loaded model, or what :attr:`espeer.Config.model` takes.
    :param context: as :attr:`espeer.Config.context`; not for a loaded model.
    :param threads: as :attr:`espeer.Config.threads`; not for a loaded model.
    :param kv_cache_mb: as :attr:`espeer.Config.kv_cache_mb`; not for a loaded model.
    :param max_waiting: the most requests of all nodes that may wait, without less urgent ones.
    :param in_thread: False for a model that answers at once, on a virtual clock.
    :raises ModelError: the model cannot be loaded.
    """
    if model is None or isinstance(model, str):
        loaded = await load_model(model, context=context, threads=threads, keep=kv_cache_mb * _MB)
    else:
        loaded = model
    try:
        async with background() as nursery:
            engine = Engine(loaded, max_waiting=max_waiting, in_thread=in_thread)
            await nursery.start(engine.run)
            yield engine
    finally:
        loaded.close()


async def load_model(
    spec: str | None,
    *,
    context: int | None = None,
    threads: int | None = None,
    keep: int | None = None,
    spill: Spilling | None = None,
) -> Model:
    """Load a model in a thread; see :func:`espeer.llm.loading.open_model`."""
    return await trio.to_thread.run_sync(
        lambda: open_model(spec, context=context, threads=threads, keep=keep, spill=spill),
        abandon_on_cancel=True,  # it can take minutes, and what it leaves behind is an unused model
    )
