"""The choice of the next token, by llama.cpp's samplers.

A grammar is asked about one token, the one that would be chosen without it. Only where it refuses that is it asked about the
whole vocabulary, which takes as long as evaluating a token. The tokens come out as likely as if all were asked about each time:
p(x) for a token that is allowed, and what the refused ones had, shared out in proportion.
"""

import ctypes
from typing import Any, Final

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from espeer.errors import ModelError
from espeer.llm.grammar import MAX_GRAMMAR, MAX_GROUPS
from espeer.llm.model import Sampling
from espeer.llm.native import Vocabulary

_CANDIDATE: Final = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])  # llama_token_data


class Sampler:
    """Chooses the tokens of one answer.

    :raises ModelError: the grammar cannot be parsed.
    """

    def __init__(self, vocabulary: Vocabulary, sampling: Sampling) -> None:
        self._vocabulary: Final = vocabulary
        self._grammar = None if sampling.grammar is None else _grammar(vocabulary, sampling.grammar)
        self._chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        if sampling.temperature > 0:
            self._add(llama_cpp.llama_sampler_init_temp(sampling.temperature))
            self._add(llama_cpp.llama_sampler_init_dist(sampling.seed & 0xFFFFFFFF))
        else:
            self._add(llama_cpp.llama_sampler_init_greedy())

    def choose(self, context: Any, row: int = -1) -> int:
        """Choose from llama.cpp's output for one row of the last batch; -1 is the last.

        :raises ModelError: the grammar allows nothing more, not even the end. llama.cpp itself would end the process.
        """
        token = int(llama_cpp.llama_sampler_sample(self._chain, context, row))
        if self._grammar is None:
            return token
        alone = np.array([(token, 0, 0)], _CANDIDATE)
        if not self._says(token) or not len(self._allowed(alone)):
            token = self._choose_allowed(context, row)
        llama_cpp.llama_sampler_accept(self._grammar, token)
        return token

    def close(self) -> None:
        """Free the memory. Closing again does nothing."""
        for part in (self._grammar, self._chain):
            if part is not None:
                llama_cpp.llama_sampler_free(part)
        self._grammar = self._chain = None

    def _add(self, part: Any) -> None:
        llama_cpp.llama_sampler_chain_add(self._chain, part)  # which owns it from here on

    def _choose_allowed(self, context: Any, row: int) -> int:
        size = self._vocabulary.size
        candidates = np.zeros(size, _CANDIDATE)
        candidates["id"] = np.arange(size)
        candidates["logit"] = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, row), shape=(size,))
        allowed = self._allowed(candidates)
        while len(allowed):
            array = _array(candidates := allowed.copy())  # a temperature is put into the logits themselves
            llama_cpp.llama_sampler_apply(self._chain, ctypes.byref(array))
            token = int(array.data[array.selected].id)
            if self._says(token):
                return token
            allowed = allowed[allowed["id"] != token]
        raise ModelError("the grammar comes to a point where no token of the model may follow; correct the grammar")

    def _allowed(self, candidates: NDArray[np.void]) -> NDArray[np.void]:
        """Return those candidates that the grammar does not refuse; the logits of the others become minus infinity."""
        llama_cpp.llama_sampler_apply(self._grammar, ctypes.byref(_array(candidates)))
        allowed: NDArray[np.void] = candidates[np.isfinite(candidates["logit"])]
        return allowed

    def _says(self, token: int) -> bool:
        """Whether a token ends the answer or is text: grammars take a chat template's tokens for what they are written as."""
        return self._vocabulary.ends(token) or bool(self._vocabulary.piece(token))


def _array(candidates: NDArray[np.void]) -> Any:
    """Return llama.cpp's view of an array of candidates. It does not keep the array alive."""
    data = candidates.ctypes.data_as(llama_cpp.llama_token_data_p)
    return llama_cpp.llama_token_data_array(data=data, size=len(candidates), selected=-1, sorted=False)


def _grammar(vocabulary: Vocabulary, gbnf: str) -> Any:
    if not gbnf.strip():  # to llama.cpp that means none
        raise ModelError("the grammar is empty; give GBNF with a rule named root, or None")
    if "\0" in gbnf or len(gbnf.encode(errors="replace")) > MAX_GRAMMAR or gbnf.count("(") > MAX_GROUPS:
        raise ModelError(
            f"the grammar is too long or too deep, or has a NUL in it; at most {MAX_GRAMMAR:,} bytes and {MAX_GROUPS:,} "
            "opening brackets are taken"
        )
    grammar = llama_cpp.llama_sampler_init_grammar(vocabulary.handle, gbnf.encode(errors="replace"), b"root")
    if not grammar:  # the parser writes its reason to stderr, not to the log
        raise ModelError("llama.cpp cannot parse the grammar; it must be GBNF with a rule named root")
    return grammar
