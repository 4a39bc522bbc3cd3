import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_gguf import CONTEXT, write_tiny

from espeer.errors import ModelUnreadable
from espeer.llm import gguf
from espeer.llm.llama import LlamaModel


def test_the_head_of_a_file(tmp_path: Path) -> None:
    head = gguf.read(write_tiny(tmp_path / "a.gguf", general__file_type=7, general__license="mit"))
    assert (head.architecture, head.quantisation, head.trained) == ("llama", "Q8_0", CONTEXT)
    assert head.text("general.license") == "mit"
    assert head.text("tokenizer.chat_template") is None
    assert head.parameters == 314 * 32 + 2 * 32 + 32 + 4 * 32 * 32 + 3 * 64 * 32
    assert 0 < head.needed <= head.size == (tmp_path / "a.gguf").stat().st_size
    assert gguf.refusal(head, memory=head.size) is None


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"split__count": 3}, "is one part of a model that was split; join the parts"),
        ({"general__type": "mmproj"}, "image encoder"),
        ({"general__architecture": "clip"}, "image encoder"),
        ({"general__type": "adapter"}, "is a LoRA adapter"),
        ({"general__type": "vocab"}, "holds a vocabulary"),
        ({"general__architecture": "nomic-bert"}, r"is an embedding model \(nomic-bert\)"),
        ({"llama__attention__causal": False}, r"is an embedding model \(llama\)"),
        ({"general__architecture": "quux"}, "unknown model architecture: 'quux'"),
        ({"llama__block_count": 2}, "tensor 'blk.1.attn_norm.weight' not found"),
        ({"tokenizer__ggml__tokens": None}, "cannot find tokenizer vocab"),
    ],
)
def test_models_that_cannot_be_run(tmp_path: Path, metadata: dict[str, object], reason: str) -> None:
    path = write_tiny(tmp_path / "a.gguf", **metadata)
    with pytest.raises(ModelUnreadable, match=reason) as error:
        LlamaModel.load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("left", [1, 9, 100, 3000, -70_000, -8_000, -1])
def test_a_file_that_is_cut_off(tmp_path: Path, left: int) -> None:
    path = write_tiny(tmp_path / "a.gguf")
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(ModelUnreadable, match=r"not a GGUF file|cut off|within the file bounds"):
        LlamaModel.load(path)


def test_more_weights_than_memory(tmp_path: Path) -> None:
    head = gguf.read(write_tiny(tmp_path / "a.gguf"))
    assert gguf.refusal(head, memory=head.size - 1) == (
        "has 0.0 GB of weights, more than this machine has memory; take a smaller model or quantisation"
    )
    assert gguf.refusal(head) is None


@pytest.mark.parametrize("place", [8, 16, 24])
def test_lengths_beyond_the_file_are_not_believed(tmp_path: Path, place: int) -> None:
    path = write_tiny(tmp_path / "a.gguf")
    data = bytearray(path.read_bytes())
    struct.pack_into("<Q", data, place, 2**63)
    path.write_bytes(data)
    with pytest.raises(ModelUnreadable, match="cut off or damaged"):
        gguf.read(path)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=20))
def test_damaged_heads_are_read_or_refused(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    path = tmp_path / "a.gguf"
    if not path.exists():
        write_tiny(path)
    data = bytearray(path.read_bytes())
    for place, byte in changes:
        data[8 + place] = byte
    other = tmp_path / "b.gguf"
    other.write_bytes(data)
    with contextlib.suppress(ModelUnreadable):
        gguf.refusal(gguf.read(other))
