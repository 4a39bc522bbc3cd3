"""Texts as vectors: by llama.cpp against its own pooling, and by the fake."""

from collections.abc import Callable

import llama_cpp
import numpy as np
import pytest
from tiny_gguf import CONTEXT

from espeer.errors import ModelError
from espeer.llm.embedding import open_embedder
from espeer.llm.fake import FakeModel
from espeer.llm.llama import LlamaModel

LONG = "the quick brown fox jumps over the lazy dog while nobody looks " * 3


def pooled(model: LlamaModel, text: str) -> np.ndarray:
    """The same vector, by llama.cpp's mean pooling of one evaluation."""
    tokens = model._tokenise(text, special=False, first=True)
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = 512
    params.embeddings, params.pooling_type = True, llama_cpp.LLAMA_POOLING_TYPE_MEAN
    params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    context = llama_cpp.llama_init_from_model(model._model, params)
    batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for row, token in enumerate(tokens):
        batch.token[row], batch.pos[row], batch.n_seq_id[row], batch.logits[row] = token, row, 1, True
        batch.seq_id[row][0] = 0
    assert llama_cpp.llama_decode(context, batch) == 0
    found = np.array(llama_cpp.llama_get_embeddings_seq(context, 0)[: model._context.width])
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)
    return found / np.linalg.norm(found)


def test_a_text_of_several_steps_has_the_vector_that_llama_cpp_pools(tiny: Callable[..., LlamaModel]) -> None:
    model = tiny()
    embedder = model.embedder()
    assert model._context.step < model.count(LONG) < CONTEXT
    for text in (LONG, "fox"):
        vector = embedder.embed(text)
        assert vector.shape == (embedder.size,)
        assert np.allclose(vector, pooled(model, text), atol=1e-4)
    embedder.close()


def test_what_was_embedded_before_leaves_nothing_behind_and_long_texts_are_cut(tiny: Callable[..., LlamaModel]) -> None:
    embedder = tiny().embedder()
    first = embedder.embed("fox and dog")
    whole = embedder.embed(LONG * 2)  # more tokens than the model was trained for
    assert np.array_equal(embedder.embed(LONG * 3), whole)
    assert np.array_equal(embedder.embed("fox and dog"), first)
    embedder.close()


def test_the_fake_gives_texts_with_the_same_words_the_nearest_vectors() -> None:
    embedder = open_embedder(FakeModel())
    asked, same, other = map(embedder.embed, ("pump P7 shows E42", "E42 on pump P7", "the valve is shut"))
    assert asked @ same > asked @ other
    with pytest.raises(ModelError, match="gives no embeddings"):
        open_embedder(type("Plain", (), {"name": "plain"})())
