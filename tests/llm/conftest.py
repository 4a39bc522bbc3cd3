from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_gguf import write_tiny

from espeer.llm.llama import LlamaModel
from espeer.llm.spill import Spill
from espeer.llm.weights import optimised, resolve


@pytest.fixture(scope="session")
def smollm() -> Iterator[LlamaModel]:
    """The default model. Tests that take it carry the mark ``model``."""
    model = LlamaModel.load(optimised(resolve(None)), context=1024)
    yield model
    model.close()


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Callable[..., LlamaModel]]:
    """Load a model of random weights with the given metadata."""
    models: list[LlamaModel] = []

    def load(context: int | None = None, *, keep: int | None = None, spill: Spill | None = None, **metadata: Any) -> LlamaModel:
        path = write_tiny(tmp_path / f"Tiny-{len(models)}.GGUF", **metadata)
        models.append(LlamaModel.load(path, context=context, keep=keep, spill=spill))
        return models[-1]

    yield load
    for model in models:
        model.close()


@pytest.fixture(autouse=True)
def own_cache(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the user's cache out of it, but for the default model, which takes seconds to make."""
    if "smollm" not in request.fixturenames:
        monkeypatch.setattr("espeer.llm.weights.cache_folder", lambda: tmp_path / "cache")
