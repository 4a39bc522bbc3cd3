from pathlib import Path

import numpy as np
import pytest
from tiny_gguf import CONTEXT, write_tiny

from espeer.errors import ModelUnreadable
from espeer.llm.speed import Speed, trial


def test_a_model_is_timed(tmp_path: Path) -> None:
    with trial(write_tiny(tmp_path / "a.gguf")) as opened:
        found = opened.speed(1, tries=1)
        assert min(found.prompt, found.token, found.first) > 0
        assert opened.speed(2, tries=2).ask > 0
        assert opened.traits == (True, False)


def test_an_ask_is_a_prompt_and_32_tokens() -> None:
    assert Speed(1.0, 0.5, 0.1).ask == 17


def test_what_cannot_be_loaded_is_not_timed(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "a.gguf", general__architecture="future")
    with pytest.raises(ModelUnreadable, match="unknown model architecture"), trial(path):
        pass


def test_surprise_sums_up_likelihood(tmp_path: Path) -> None:
    with trial(write_tiny(tmp_path / "a.gguf"), context=CONTEXT) as opened:
        short = opened.surprise("abc def")
        long = opened.surprise("abc def" + " ghi" * 200)
        assert len(short) >= 7
        assert (short > 0).all()
        assert np.allclose(long[: len(short)], short, atol=1e-3)  # what comes later does not matter
        assert len(long) == CONTEXT - 1
