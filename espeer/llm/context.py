"""A llama.cpp context: sequences of evaluated tokens, and their states as bytes.

The sequences share the context's cells, one for each token. Attention runs over all cells in use, so what is only kept for
later is better taken out of the context, as bytes, and put back when it is needed: that takes half a millisecond for a text
that takes a hundred to evaluate.
"""

import ctypes
import sys
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from espeer.errors import ModelError, ModelUnreadable
from espeer.llm import native

SEQUENCES: Final = 64
"""The most sequences at once. llama.cpp reserves room for the logits of each."""
_ABORTED: Final = 2  # llama_decode's answer when the callback ended it
_STEP_WORK: Final = 20_000_000_000
"""Parameters times tokens evaluated in one step: a quarter of a second on two cores."""


class Cell(NamedTuple):
    """A token to evaluate.

    :ivar wanted: whether the logits of what comes after it are wanted.
    """

    token: int
    position: int
    sequence: int
    wanted: bool = False


class Interrupted(Exception):
    """The evaluation was ended early; nothing of it was kept."""


class Context:
    """Cells and sequences of a loaded model. For one thread at a time, but for :meth:`interrupt`.

    :param model: llama.cpp's handle.
    :param cells: how many tokens it holds.
    :param hidden: have it give the last layer's states, too; see :meth:`hidden`.
    :raises ModelUnreadable: there is not enough memory.
    """

    def __init__(self, model: Any, *, cells: int, threads: int, hidden: bool = False) -> None:
        self.cells: Final = cells
        self.threads: Final = threads
        self.width: Final = int(llama_cpp.llama_model_n_embd_out(model))
        """Values of a token's hidden state."""
        self.step: Final = step_tokens(int(llama_cpp.llama_model_n_params(model)))
        """The most tokens of one evaluation."""
        # Called between two operations of an evaluation. A function of Python's would have to wait for the interpreter's
        # lock each time; C's own atoi reads the flag without it: "0" goes on, "1" ends the evaluation.
        self._flag = ctypes.create_string_buffer(b"0")
        self._read_flag = ctypes.cast(ctypes.CDLL(None).atoi, llama_cpp.ggml_abort_callback)
        self.handle: Final = self._open(model, hidden=hidden)
        """llama.cpp's."""
        self._memory = llama_cpp.llama_get_memory(self.handle)
        self._batch = llama_cpp.llama_batch_init(self.step, 0, 1)
        self._free = list(range(SEQUENCES))
        self._vocabulary_size = int(llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model)))

    def _open(self, model: Any, *, hidden: bool) -> Any:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = self.cells
        # At least one token of each sequence: with less, llama.cpp ends the process at an assertion of its own.
        params.n_batch = params.n_ubatch = max(self.step, SEQUENCES)
        params.n_seq_max = SEQUENCES
        params.n_threads = params.n_threads_batch = self.threads
        params.embeddings = hidden
        params.pooling_type = llama_cpp.LLAMA_POOLING_TYPE_NONE  # llama.cpp pools within one evaluation, and texts take several
        params.kv_unified = True  # the sequences share the cells of what they have in common
        params.swa_full = True  # with a sliding window only, what came before it could not be used again
        params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED  # no faster here, and scores vary with the grouping
        params.no_perf = True
        params.abort_callback = self._read_flag
        params.abort_callback_data = ctypes.cast(self._flag, ctypes.c_void_p)
        native.begin()
        handle = llama_cpp.llama_init_from_model(model, params)
        if not handle:
            raise ModelUnreadable(
                f"no context of {self.cells} tokens: {native.complaint()}; ask for a smaller one, or free memory"
            )
        return handle

    @property
    def shifts(self) -> bool:
        """Whether the positions of evaluated tokens can be changed."""
        return bool(llama_cpp.llama_memory_can_shift(self._memory))

    @property
    def build(self) -> str:
        """What shapes a state besides the weights: a state is of no use to another build."""
        return f"llama-cpp-python {llama_cpp.__version__}, f16, no flash attention, {sys.byteorder} endian"

    def open(self) -> int:
        """A new, empty sequence."""
        if not self._free:
            raise ModelError(f"the model works on {SEQUENCES} texts already; try again later")
        return self._free.pop()

    def drop(self, sequence: int) -> None:
        """Forget a sequence."""
        llama_cpp.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        self._free.append(sequence)
        if len(self._free) == SEQUENCES:
            self.clear()  # so that llama.cpp takes the first cells again: attention runs up to the last one in use

    def cut(self, sequence: int, start: int, end: int = -1) -> bool:
        """Forget a sequence's positions from ``start``, to before ``end``.

        Return whether that was possible: a recurrent model cannot go back.
        """
        return bool(llama_cpp.llama_memory_seq_rm(self._memory, sequence, start, end))

    def copy(self, source: int, target: int) -> None:
        """Have ``target`` hold what ``source`` holds, too. It costs no cells."""
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def shift(self, sequence: int, by: int) -> None:
        """Move a sequence to later positions.

        It is done with the next evaluation, in a pass over all cells, which must not be interruptible. Until then the sequence
        has no state that could be taken.
        """
        llama_cpp.llama_memory_seq_add(self._memory, sequence, -1, -1, by)

    def state(self, sequence: int) -> bytes:
        """What a sequence holds, its positions included."""
        size = llama_cpp.llama_state_seq_get_size(self.handle, sequence)
        buffer = (ctypes.c_uint8 * size)()
        if llama_cpp.llama_state_seq_get_data(self.handle, buffer, size, sequence) != size:
            raise ModelError("llama.cpp does not give a sequence's state; try again")
        return bytes(buffer)

    def restore(self, sequence: int, state: bytes) -> None:
        """Have a sequence hold ``state``, and nothing else.

        It must come from :meth:`state`: llama.cpp does not survive any other.

        :raises ModelError: there is no room for it.
        """
        native.begin()
        data = ctypes.cast(ctypes.c_char_p(state), ctypes.POINTER(ctypes.c_uint8))  # without a copy
        if llama_cpp.llama_state_seq_set_data(self.handle, data, len(state), sequence) != len(state):
            raise ModelError(f"llama.cpp cannot take a kept state back: {native.complaint()}; try again")

    def evaluate(self, cells: Sequence[Cell], *, interruptible: bool = True) -> None:
        """Evaluate at most :attr:`step` cells. Those of a sequence go on from its highest position.

        :raises Interrupted: :meth:`interrupt` was called since the last evaluation that could be interrupted.
        :raises ModelError: llama.cpp failed. Nothing is known of the sequences then.
        """
        batch = self._batch
        batch.n_tokens = len(cells)
        for row, (token, position, sequence, wanted) in enumerate(cells):
            batch.token[row] = token
            batch.pos[row] = position
            batch.n_seq_id[row] = 1
            batch.seq_id[row][0] = sequence
            batch.logits[row] = wanted
        native.begin()
        if not interruptible:
            llama_cpp.llama_set_abort_callback(self.handle, llama_cpp.ggml_abort_callback(), None)
        try:
            code = llama_cpp.llama_decode(self.handle, batch)
        finally:
            if not interruptible:
                llama_cpp.llama_set_abort_callback(self.handle, self._read_flag, ctypes.cast(self._flag, ctypes.c_void_p))
        if code == _ABORTED:
            self._flag.value = b"0"
            raise Interrupted
        if code != 0:
            raise ModelError(f"llama.cpp cannot evaluate the prompt (code {code}): {native.complaint()}; try again")

    def interrupt(self) -> None:
        """End the evaluation at work, or the next one. For any thread."""
        self._flag.value = b"1"

    def logits(self, row: int) -> NDArray[np.float32]:
        """What the last evaluation says of what comes after its cell ``row``. Overwritten by the next one."""
        pointer = llama_cpp.llama_get_logits_ith(self.handle, row)
        return np.ctypeslib.as_array(pointer, shape=(self._vocabulary_size,))

    def hidden(self, row: int) -> NDArray[np.float32]:
        """The last layer's state, after its norm, for the last evaluation's cell ``row``. Overwritten by the next one.

        Only in a context that was opened for it, and of a wanted cell.
        """
        pointer = llama_cpp.llama_get_embeddings_ith(self.handle, row)
        return np.ctypeslib.as_array(pointer, shape=(self.width,))

    def clear(self) -> None:
        """Forget all sequences' cells; the sequences stay open."""
        llama_cpp.llama_memory_clear(self._memory, False)  # the cells only, not their contents

    def close(self) -> None:
        """Free the memory."""
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self.handle)


def step_tokens(parameters: int) -> int:
    """How many tokens to evaluate in one step: a power of two from 16 to 128, less for larger models.

    It depends on the weights only, not on the clock: another grouping of the tokens gives slightly other logits.
    """
    tokens = 128
    while tokens > 16 and tokens * parameters > _STEP_WORK:  # noqa: PLR2004 - below 16 prefill is as slow as decoding
        tokens //= 2
    return tokens
