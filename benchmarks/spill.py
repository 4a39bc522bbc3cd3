"""Is a KV state on disk worth it: writing and reading one beside evaluating its tokens again. `python -m benchmarks.spill`.

The folder is full, so each state that is written pushes out the oldest. "Cold" is read after the system was told to drop the
file from its memory; the disk below may have one of its own.
"""

import argparse
import ctypes
import hashlib
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from espeer.llm import native  # before llama.cpp, as it says how its threads wait

# isort: split
import llama_cpp

from benchmarks.report import described, machine, table
from benchmarks.timing import MILLI, interleaved
from espeer.llm.cores import usable_cores
from espeer.llm.spill import Spill
from espeer.llm.states import StateKey
from espeer.llm.weights import optimised, resolve

PREFIX: Final = 40
"""Tokens before the note."""
_FOLDER_STATES: Final = 20
_STEPS: Final = {
    "decode": "evaluate the tokens",
    "take": "take the state out of llama.cpp",
    "write": "write it",
    "read": "read it, as it was just written",
    "cold": "read it, cold",
    "restore": "give it to llama.cpp",
    "save_file": "llama_state_seq_save_file, no checksum",
    "load_file": "llama_state_seq_load_file, no checksum",
    "sha256": "SHA-256 of it",
    "blake2b": "BLAKE2b of it",
}


class Note:
    """A text of random tokens behind a prefix, in llama.cpp."""

    def __init__(self, model: Any, context: Any, tokens: int, file: Path) -> None:
        chance = random.Random(1)  # noqa: S311 - tokens to measure with
        most = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        self._tokens = [chance.randrange(most) for _ in range(PREFIX + tokens)]
        self._context = context
        self._memory = llama_cpp.llama_get_memory(context)
        self._file = os.fsencode(file)
        self._evaluate(0, PREFIX)
        self.state = b""

    def _evaluate(self, start: int, end: int) -> None:
        tokens = (llama_cpp.llama_token * (end - start))(*self._tokens[start:end])
        batch = llama_cpp.llama_batch_get_one(tokens, end - start)  # which points to them
        if llama_cpp.llama_decode(self._context, batch) != 0:
            raise RuntimeError("llama.cpp cannot evaluate the tokens")

    def decode(self, _number: int) -> None:
        """Evaluate the note after the prefix."""
        llama_cpp.llama_memory_seq_rm(self._memory, 0, PREFIX, -1)
        self._evaluate(PREFIX, len(self._tokens))

    def take(self, _number: int) -> None:
        """Get the note's state as bytes."""
        llama_cpp.llama_memory_seq_cp(self._memory, 0, 1, PREFIX, -1)
        size = llama_cpp.llama_state_seq_get_size(self._context, 1)
        buffer = (ctypes.c_uint8 * size)()
        llama_cpp.llama_state_seq_get_data(self._context, buffer, size, 1)
        llama_cpp.llama_memory_seq_rm(self._memory, 1, -1, -1)
        self.state = bytes(buffer)

    def restore(self, _number: int) -> None:
        """Put the state into a sequence."""
        data = ctypes.cast(ctypes.c_char_p(self.state), ctypes.POINTER(ctypes.c_uint8))
        if llama_cpp.llama_state_seq_set_data(self._context, data, len(self.state), 1) != len(self.state):
            raise RuntimeError("llama.cpp does not take the state")

    def save_file(self, _number: int) -> None:
        """Have llama.cpp write the restored state."""
        llama_cpp.llama_state_seq_save_file(self._context, self._file, 1, (llama_cpp.llama_token * 1)(), 0)

    def load_file(self, _number: int) -> None:
        """Have llama.cpp read it."""
        count = ctypes.c_size_t()
        into = (llama_cpp.llama_token * 1)()
        if not llama_cpp.llama_state_seq_load_file(self._context, self._file, 1, into, 1, ctypes.byref(count)):
            raise RuntimeError("llama.cpp does not read its file")
        llama_cpp.llama_memory_seq_rm(self._memory, 1, -1, -1)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a GGUF file; by default the default model's")
    parser.add_argument("--tokens", type=int, default=80, help="of the note")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    with _context(optimised(resolve(options.model))) as (model, context), tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        note = Note(model, context, options.tokens, Path(folder) / "llama.cpp")
        note.decode(0)
        note.take(0)
        calls = _calls(note, Path(folder) / "states")
        times = interleaved(calls, options.rounds, block=1)
    decode = times["decode"]
    rows = [
        (
            label,
            f"{min(times[name].seconds) * MILLI:.2f}",
            f"{times[name].p50 * MILLI:.2f}",
            f"{min(decode.seconds) / min(times[name].seconds):,.0f}",
            f"{decode.p50 / times[name].p50:,.0f}",
        )
        for name, label in _STEPS.items()
    ]
    print(described(machine()))
    print(f"{options.tokens} tokens after {PREFIX}, a state of {len(note.state):,} bytes, {options.rounds} rounds\n")
    print(table(("step", "best ms", "median ms", "evaluating over it, best", "median"), rows))


def _calls(note: Note, folder: Path) -> dict[str, Callable[[int], object]]:
    spill = Spill(folder, _FOLDER_STATES * (len(note.state) + 1000))

    def key(number: int) -> StateKey:
        return StateKey("benchmark", bytes(32), "note", number)

    def write(number: int) -> None:
        if not spill.put(key(number), note.state):
            raise RuntimeError("the spill does not take the state")

    def read(number: int) -> None:
        if spill.get(key(number)) != note.state:
            raise RuntimeError("the state on disk is another")

    def drop(_number: int) -> None:
        path = max(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    return {
        "decode": note.decode,
        "take": note.take,
        "write": write,
        "read": read,
        "drop": drop,
        "cold": read,
        "restore": note.restore,
        "save_file": note.save_file,
        "load_file": note.load_file,
        "sha256": lambda _number: hashlib.sha256(note.state).digest(),
        "blake2b": lambda _number: hashlib.blake2b(note.state, digest_size=32).digest(),
    }


@contextmanager
def _context(path: Path) -> Iterator[tuple[Any, Any]]:
    native.begin()
    model = llama_cpp.llama_model_load_from_file(os.fsencode(path), native.model_params())
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_seq_max, params.kv_unified = 2048, 2, True
    params.n_threads = params.n_threads_batch = usable_cores()
    context = llama_cpp.llama_init_from_model(model, params)
    yield model, context
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)


if __name__ == "__main__":
    main()
