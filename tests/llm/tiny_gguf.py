"""A language model of 60 kB with random weights, written by hand: to try every kind of file without its 100 MB."""

import struct
from pathlib import Path
from typing import Any

import numpy as np

CONTEXT = 256
_WIDTH, _HIDDEN = 32, 64
_LETTERS = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
SPECIAL = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
_UNKNOWN, _CONTROL, _NORMAL, _BYTE = 2, 3, 1, 6


def write_recurrent(path: Path) -> Path:
    """Write a Mamba model: one that keeps a state in place of its tokens."""
    hidden, states, rank = 2 * _WIDTH, 8, 4
    random = np.random.default_rng(2)
    layer = {
        "ssm_in.weight": random.normal(size=(2 * hidden, _WIDTH)),
        "ssm_conv1d.weight": random.normal(size=(hidden, 4)),
        "ssm_conv1d.bias": random.normal(size=hidden),
        "ssm_x.weight": random.normal(size=(rank + 2 * states, hidden)),
        "ssm_dt.weight": random.normal(size=(hidden, rank)),
        "ssm_dt.bias": random.normal(size=hidden),
        "ssm_a": -np.abs(random.normal(size=(hidden, states))),
        "ssm_d": random.normal(size=hidden),
        "ssm_out.weight": random.normal(size=(_WIDTH, hidden)),
    }
    metadata = {
        "general__architecture": "mamba",
        "mamba__context_length": 700,
        "mamba__embedding_length": _WIDTH,
        "mamba__block_count": 1,
        "mamba__feed_forward_length": 0,
        "mamba__attention__head_count": 0,
        "mamba__attention__layer_norm_rms_epsilon": 1e-5,
        "mamba__ssm__conv_kernel": 4,
        "mamba__ssm__inner_size": hidden,
        "mamba__ssm__state_size": states,
        "mamba__ssm__time_step_rank": rank,
    }
    return write_tiny(path, layer, **metadata)


def write_tiny(path: Path, layer: dict[str, Any] | None = None, **metadata: Any) -> Path:
    """Write a model to ``path``.

    :param layer: the tensors of its one layer.
    :param metadata: goes over the usual (keys with ``__`` for a dot, None leaves one out).
    """
    tokens = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *_LETTERS]
    kinds = [_UNKNOWN, *[_CONTROL] * (len(SPECIAL) - 1), *[_BYTE] * 256, *[_NORMAL] * len(_LETTERS)]
    values = {
        "general.architecture": "llama",
        "llama.context_length": CONTEXT,
        "llama.embedding_length": _WIDTH,
        "llama.block_count": 1,
        "llama.feed_forward_length": _HIDDEN,
        "llama.attention.head_count": 2,
        "llama.attention.head_count_kv": 2,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": _WIDTH // 2,
        "llama.vocab_size": len(tokens),
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * len(tokens),
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": True,
        **{key.replace("__", "."): value for key, value in metadata.items()},
    }
    values = {key: value for key, value in values.items() if value is not None}
    random = np.random.default_rng(1)
    tensors = {
        "token_embd.weight": random.normal(size=(len(tokens), _WIDTH)),
        "output_norm.weight": np.ones(_WIDTH),
        "blk.0.attn_norm.weight": np.ones(_WIDTH),
    }
    if layer is None:
        layer = {
            "ffn_norm.weight": np.ones(_WIDTH),
            **{f"attn_{part}.weight": random.normal(size=(_WIDTH, _WIDTH)) for part in ("q", "k", "v", "output")},
            "ffn_gate.weight": random.normal(size=(_HIDDEN, _WIDTH)),
            "ffn_up.weight": random.normal(size=(_HIDDEN, _WIDTH)),
            "ffn_down.weight": random.normal(size=(_WIDTH, _HIDDEN)),
        }
    tensors |= {f"blk.0.{name}": tensor for name, tensor in layer.items()}
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values))
    head += b"".join(_text(key) + _value(value) for key, value in values.items())
    data = b""
    for name, tensor in tensors.items():
        shape = tensor.shape[::-1]
        head += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, len(data))
        data += tensor.astype("<f4").tobytes()
    path.write_bytes(head + b"\0" * (-len(head) % 32) + data)
    return path


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Any) -> bytes:
    kind, data = _typed(value)
    return struct.pack("<I", kind) + data


def _typed(value: Any) -> tuple[int, bytes]:
    match value:
        case bool():
            return 7, struct.pack("<?", value)
        case int():
            return 4, struct.pack("<I", value)
        case float():
            return 6, struct.pack("<f", value)
        case str():
            return 8, _text(value)
        case list():
            parts = [(5, struct.pack("<i", item)) if isinstance(item, int) else _typed(item) for item in value]
            return 9, struct.pack("<IQ", parts[0][0], len(parts)) + b"".join(part for _, part in parts)
    raise TypeError(value)
