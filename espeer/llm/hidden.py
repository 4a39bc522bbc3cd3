"""Texts as vectors by llama.cpp; see :mod:`espeer.llm.embedding`."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from espeer.errors import ModelError
from espeer.llm.context import Cell, Context

MOST_TOKENS: Final = 1024
"""The most tokens of a text that are read."""


class HiddenStates:
    """An :class:`Embedder` on a llama.cpp model.

    :param context: opened for hidden states; it is this one's from now on.
    :param tokens: splits a text.
    """

    def __init__(self, context: Context, tokens: Callable[[str], Sequence[int]]) -> None:
        self._context = context
        self._tokens = tokens
        self._sequence = context.open()

    @property
    def size(self) -> int:
        """How many values a vector has."""
        return self._context.width

    def embed(self, text: str) -> NDArray[np.float32]:
        """Return a text's vector; see :meth:`Embedder.embed`.

        :raises ModelError: llama.cpp failed, or there is nothing in the text.
        """
        tokens = self._tokens(text)[: self._context.cells]
        if not tokens:
            raise ModelError("there is nothing to embed; give a text")
        self._context.clear()
        total = np.zeros(self.size)
        for start in range(0, len(tokens), self._context.step):
            cells = [
                Cell(token, position, self._sequence, wanted=True)
                for position, token in enumerate(tokens[start : start + self._context.step], start)
            ]
            self._context.evaluate(cells, interruptible=False)
            for row in range(len(cells)):
                total += self._context.hidden(row)
        return (total / np.linalg.norm(total)).astype(np.float32)

    def close(self) -> None:
        """Free the memory."""
        self._context.close()
