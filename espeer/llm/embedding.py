"""Texts as vectors, by the language model itself: the mean of the last layer's states over a text's tokens.

A causal model is no embedding model: it was trained to say the next word, and its states point in much the same direction
whatever the text is about (Ethayarajh 2019, arXiv 1909.00512). Taking off the mean of texts of the same kind is the usual
remedy (Mu and Viswanath 2018, arXiv 1702.01417); that is the caller's to do.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from espeer.errors import ModelError
from espeer.llm.model import Model


class Embedder(Protocol):
    """Gives texts as vectors. For one thread at a time."""

    @property
    def size(self) -> int:
        """How many values a vector has."""

    def embed(self, text: str) -> NDArray[np.float32]:
        """Return a text's vector, of length 1. Of a text that is too long the beginning counts."""

    def close(self) -> None:
        """Free the memory; it cannot be used any more."""


@runtime_checkable
class Embeds(Protocol):
    """A model that can give texts as vectors."""

    def embedder(self) -> Embedder:
        """Open one. It is to be closed before the model."""


def open_embedder(model: Model) -> Embedder:
    """Open an embedder on a loaded model's weights.

    :raises ModelError: this kind of model has none, or there is not enough memory.
    """
    if not isinstance(model, Embeds):
        raise ModelError(f"{model.name} gives no embeddings; use a GGUF model")
    return model.embedder()
