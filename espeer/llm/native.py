"""The few llama.cpp calls that need care: its log and its vocabulary.

llama.cpp is C: it prints to the terminal, answers NULL, and ends the process when it is handed a NULL. This module is the
only one, with :mod:`espeer.llm.llama` and :mod:`espeer.llm.sampler`, that touches it.
"""

import ctypes
import os
import re
from collections import deque
from pathlib import Path
from typing import Any, Final

import llama_cpp

from espeer.errors import ModelError, ModelUnreadable
from espeer.llm.cores import usable_cores

_ERROR: Final = 4  # ggml_log_level
_CONTINUED: Final = 5
_SENTENCEPIECE: Final = 1  # llama_vocab_type
_NOISE: Final = re.compile(r"^(\w+: )+(error loading model: )?")

_errors: deque[str] = deque(maxlen=20)
_level = _ERROR


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator] # a ctypes function type
def _log(level: int, text: bytes, _data: Any) -> None:
    global _level  # noqa: PLW0603 - the log is the process's, as llama.cpp is
    _level = _level if level == _CONTINUED else level
    if _level == _ERROR:
        _errors.append(text.decode(errors="replace"))


def begin() -> None:
    """Take over llama.cpp's log and forget the errors in it, before a call whose failure is to be explained."""
    llama_cpp.llama_log_set(_log, ctypes.c_void_p(0))  # each time: importing parts of llama_cpp sets another
    _errors.clear()


begin()
llama_cpp.llama_backend_init()


def complaint() -> str:
    """What llama.cpp logged as an error since :func:`begin`, its first line, without the names of its functions."""
    lines = (_NOISE.sub("", line).strip() for line in "".join(_errors).splitlines())
    return next((line for line in lines if line), "llama.cpp gives no reason")


def model_params() -> Any:
    """How to load a model: llama.cpp's defaults, but never its AMX kernels.

    GCC builds their tile configuration wrong, and the process dies of it at the first prompt
    (https://github.com/ggml-org/llama.cpp/issues/20824, https://github.com/ggml-org/llama.cpp/pull/26954). They can only be
    left out together with all kernels that want the weights in another layout.
    """
    params = llama_cpp.llama_model_default_params()
    params.use_extra_bufts = b"AMX_INT8 = 1" not in llama_cpp.llama_print_system_info()
    return params


def load(path: Path) -> Any:
    """Load a GGUF file; whoever asked for it frees it.

    :raises ModelUnreadable: llama.cpp cannot load it.
    """
    begin()
    model = llama_cpp.llama_model_load_from_file(os.fsencode(path), model_params())
    if not model:
        raise ModelUnreadable(f"llama.cpp cannot load {path}: {complaint()}; get the file anew, or name another")
    return model


def is_recurrent(model: Any) -> bool:
    """Whether a model, or a part of its layers, keeps one state that is overwritten: it cannot go back to an earlier token."""
    return bool(llama_cpp.llama_model_is_recurrent(model) or llama_cpp.llama_model_is_hybrid(model))


def quantise(source: Path, target: Path, *, file_type: int) -> None:
    """Write the weights in ``source`` to ``target`` in another quantisation (a ``LLAMA_FTYPE_...`` number).

    :raises ModelUnreadable: ``source`` is not readable, or ``target`` not writable.
    """
    begin()
    params = llama_cpp.llama_model_quantize_default_params()
    params.nthread = usable_cores()
    params.ftype = file_type
    params.allow_requantize = True
    if llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(params)) != 0:
        raise ModelUnreadable(f"cannot requantise {source}: {complaint()}")


class Vocabulary:
    """A model's tokens."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.handle = llama_cpp.llama_model_get_vocab(model)
        self.size = int(llama_cpp.llama_vocab_n_tokens(self.handle))
        begin_token = int(llama_cpp.llama_vocab_bos(self.handle))
        self.begin = begin_token if begin_token >= 0 and llama_cpp.llama_vocab_get_add_bos(self.handle) else None
        """The token that begins every text, if the model was trained with one."""
        self._piece = ctypes.create_string_buffer(512)
        self._puts_space_first = (
            llama_cpp.llama_vocab_type(self.handle) == _SENTENCEPIECE
            and self.metadata("tokenizer.ggml.add_space_prefix") != "false"
        )

    def metadata(self, key: str) -> str | None:
        """A value of the file's metadata, as text."""
        name = key.encode()
        length = llama_cpp.llama_model_meta_val_str(self._model, name, None, 0)
        if length < 0:
            return None
        buffer = ctypes.create_string_buffer(length + 1)
        llama_cpp.llama_model_meta_val_str(self._model, name, buffer, length + 1)
        return buffer.value.decode(errors="replace")

    def tokens(self, text: str, *, special: bool, first: bool = True) -> list[int]:
        """The tokens of ``text``.

        :param special: whether ``<|im_end|>`` and its like are special tokens in it.
        :param first: whether ``text`` begins a document. Otherwise it goes on after other text, and gets no space before it
            from a SentencePiece vocabulary that puts one first.
        """
        if first or not self._puts_space_first:
            return self._tokens(text, special=special)
        lead = self._tokens("\n", special=False)
        tokens = self._tokens(f"\n{text}", special=special)
        return tokens[len(lead) :] if tokens[: len(lead)] == lead else self._tokens(text, special=special)

    def _tokens(self, text: str, *, special: bool) -> list[int]:
        data = text.encode(errors="replace")
        room = len(data) + 2  # a token has a byte at least; SentencePiece may put a space first
        buffer = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self.handle, data, len(data), buffer, room, False, special)
        if count < 0:
            raise ModelError(f"the model cannot tokenise a text of {len(data):,} bytes; shorten it")
        return list(buffer[:count])

    def piece(self, token: int) -> bytes:
        """The bytes a token stands for; none for a special token. May be part of a character."""
        length = llama_cpp.llama_token_to_piece(self.handle, token, self._piece, len(self._piece), 0, False)
        return self._piece.raw[: max(length, 0)]

    def text(self, token: int) -> str:
        """A token as a chat template writes it; nothing for a token that there is not (a negative number)."""
        return llama_cpp.llama_vocab_get_text(self.handle, token).decode(errors="replace") if token >= 0 else ""

    def ends(self, token: int) -> bool:
        """Whether a token ends the answer."""
        return bool(llama_cpp.llama_vocab_is_eog(self.handle, token))
