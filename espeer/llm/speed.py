"""How fast a model file is on this machine, and what requantisation lost: llama.cpp itself, without the engine.

Where times of several models are compared, they take turns: a machine that others use is not equally fast all the time.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from espeer.errors import ModelError, ModelUnreadable
from espeer.llm import native
from espeer.llm.cores import usable_cores
from espeer.llm.weights import check_header

PROMPT: Final = 128
"""Tokens of the prompt that is timed: a question with two or three experiences."""
ANSWER: Final = 16
"""Tokens of the answer that is timed."""
_FIRST: Final = 32  # tokens of a question whose system prompt is kept: what the first token of an answer waits for


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds, each the median of several tries.

    :ivar prompt: for :data:`PROMPT` tokens at once.
    :ivar token: for one token of an answer.
    :ivar first: for 32 tokens at once.
    """

    prompt: float
    token: float
    first: float

    @property
    def ask(self) -> float:
        """For a prompt of 128 tokens and an answer of 32."""
        return self.prompt + 32 * self.token


class Trial:
    """A loaded model that is timed. Make one with :func:`trial`."""

    def __init__(self, model: Any, handle: Any) -> None:
        self._model = model
        self._handle = handle
        self._memory = llama_cpp.llama_get_memory(handle)
        self._batch = llama_cpp.llama_batch_init(PROMPT, 0, 1)
        self._vocabulary = native.Vocabulary(model)

    def speed(self, threads: int, *, tries: int = 3) -> Speed:
        """Time prompts and answers with so many threads."""
        llama_cpp.llama_set_n_threads(self._handle, threads, threads)
        tokens = [token % self._vocabulary.size for token in range(100, 100 + PROMPT)]
        self._fresh(tokens)  # the first time pages come from the disk
        prompt = [self._fresh(tokens) for _ in range(tries)]
        single = [self._timed([token], PROMPT + place) for place, token in enumerate(tokens[:ANSWER])]
        first = [self._fresh(tokens[:_FIRST]) for _ in range(tries)]
        return Speed(*(float(np.median(times)) for times in (prompt, single, first)))

    def evaluations(self, threads: int, sizes: Sequence[int], *, tries: int = 7) -> list[float]:
        """Time evaluations of so many tokens each behind :data:`PROMPT` others, with so many threads: seconds, the median."""
        llama_cpp.llama_set_n_threads(self._handle, threads, threads)
        tokens = [token % self._vocabulary.size for token in range(100, 100 + PROMPT)]
        found: dict[int, list[float]] = {size: [] for size in sizes}
        for _ in range(tries):  # they take turns, as the machine may have other work
            self._fresh(tokens)
            for size in sizes:
                found[size].append(self._timed(tokens[:size], PROMPT))
                llama_cpp.llama_memory_seq_rm(self._memory, 0, PROMPT, -1)
        return [float(np.median(found[size])) for size in sizes]

    def surprise(self, text: str) -> NDArray[np.float64]:
        """How little each token of ``text`` was expected, in nats: the negative logarithm of its likelihood.

        What is over the context is left out.
        """
        tokens = self._vocabulary.tokens(text, special=False)
        if self._vocabulary.begin is not None:
            tokens = [self._vocabulary.begin, *tokens]
        tokens = tokens[: llama_cpp.llama_n_ctx(self._handle)]
        found = []
        llama_cpp.llama_memory_clear(self._memory, False)
        for start in range(0, len(tokens) - 1, PROMPT):
            part = tokens[start : min(start + PROMPT, len(tokens) - 1)]
            self._decode(part, start, every=True)
            for row in range(len(part)):
                pointer = llama_cpp.llama_get_logits_ith(self._handle, row)
                logits = np.ctypeslib.as_array(pointer, shape=(self._vocabulary.size,)).astype(np.float64)
                top = logits.max()
                found.append(top + np.log(np.exp(logits - top).sum()) - logits[tokens[start + row + 1]])
        return np.array(found)

    def _fresh(self, tokens: Sequence[int]) -> float:
        llama_cpp.llama_memory_clear(self._memory, False)
        return self._timed(tokens, 0)

    def _timed(self, tokens: Sequence[int], start: int) -> float:
        began = perf_counter()
        self._decode(tokens, start, every=False)
        llama_cpp.llama_get_logits_ith(self._handle, -1)  # waits for the evaluation
        return perf_counter() - began

    def _decode(self, tokens: Sequence[int], start: int, *, every: bool) -> None:
        batch = self._batch
        batch.n_tokens = len(tokens)
        for row, token in enumerate(tokens):
            batch.token[row], batch.pos[row] = token, start + row
            batch.n_seq_id[row], batch.seq_id[row][0] = 1, 0
            batch.logits[row] = every or row == len(tokens) - 1
        native.begin()
        if llama_cpp.llama_decode(self._handle, batch) != 0:
            raise ModelError(f"llama.cpp cannot evaluate it: {native.complaint()}; name another model")

    def close(self) -> None:
        """Free the memory."""
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._handle)
        llama_cpp.llama_model_free(self._model)

    @property
    def traits(self) -> tuple[bool, bool]:
        """Whether a note's state can be moved to another place in a prompt, and whether the model is recurrent or hybrid."""
        return bool(llama_cpp.llama_memory_can_shift(self._memory)), native.is_recurrent(self._model)


@contextmanager
def trial(path: Path, *, context: int = 512) -> Iterator[Trial]:
    """Load ``path`` for the length of the block.

    :param context: the most tokens of a text.
    :raises ModelUnreadable: llama.cpp cannot load it, or there is not enough memory.
    """
    check_header(path)
    model = native.load(path)
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = context, PROMPT, PROMPT
    params.n_threads = params.n_threads_batch = usable_cores()
    params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.no_perf = True
    handle = llama_cpp.llama_init_from_model(model, params)
    if not handle:
        llama_cpp.llama_model_free(model)
        raise ModelUnreadable(f"no context of {context} tokens for {path}: {native.complaint()}; free memory, or name another")
    opened = Trial(model, handle)
    try:
        yield opened
    finally:
        opened.close()
