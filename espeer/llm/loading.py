"""Open a model by what the user calls it."""

from pathlib import Path
from typing import Final

from espeer.llm.fake import FakeModel
from espeer.llm.model import Model
from espeer.llm.states import Spilling
from espeer.llm.weights import optimised, resolve

FAKE: Final = "fake"
"""The spec of :class:`espeer.llm.fake.FakeModel`, for tests and simulations."""


def open_model(
    spec: str | None,
    *,
    context: int | None = None,
    threads: int | None = None,
    keep: int | None = None,
    spill: Spilling | None = None,
) -> Model:
    """Load a model. This blocks: for a second with the default model, for minutes when a large one has to be downloaded.

    :param spec: None for the default model, a path, ``hf:OWNER/REPO/FILE.gguf``, or :data:`FAKE`.
    :param context: the most tokens of a prompt with its answer.
    :param threads: the most threads that llama.cpp may use.
    :param keep: bytes of KV states of prompts' beginnings and notes to keep in memory; 0 to evaluate every prompt as a whole.
    :param spill: where those states go that there is no room for.
    :raises ModelNotFound: there is no such file, package or hub entry.
    :raises ModelUnreadable: llama.cpp cannot load it.
    """
    if spec == FAKE:
        return FakeModel() if context is None else FakeModel(context=context)
    return open_file(optimised(resolve(spec)), context=context, threads=threads, keep=keep, spill=spill)


def open_file(
    path: Path,
    *,
    context: int | None = None,
    threads: int | None = None,
    keep: int | None = None,
    spill: Spilling | None = None,
) -> Model:
    """Load a GGUF file just as it is. Otherwise as :func:`open_model`."""
    from espeer.llm.llama import LlamaModel  # noqa: PLC0415 - 0.3 s to import, not needed by those who use the fake

    return LlamaModel.load(path, context=context, threads=threads, keep=keep, spill=spill)
