"""What a GGUF file says of itself, read without llama.cpp and without trusting the file.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Nothing is allocated by what the file announces: the file
is mapped, each length is held against what is left of it, and of arrays only the number of elements is kept.
"""

import mmap
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

from espeer.errors import ModelUnreadable

Value = int | float | bool | str

_VERSIONS: Final = (2, 3)
_SCALARS: Final = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING: Final = 8
_ARRAY: Final = 9
_MOST_DIMENSIONS: Final = 4
_FILE_TYPES: Final = (
    *("F32", "F16", "Q4_0", "Q4_1", "", "", "", "Q8_0", "Q5_0", "Q5_1", "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S"),
    *("Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "IQ2_XXS", "IQ2_XS", "Q2_K_S", "IQ3_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S"),
    *("IQ3_M", "IQ2_S", "IQ2_M", "IQ4_XS", "IQ1_M", "BF16", "", "", "", "TQ1_0", "TQ2_0", "MXFP4"),
)  # llama_ftype in llama.h
_ENCODERS: Final = frozenset(
    {"bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "eurobert"}
    | {"t5encoder", "gemma-embedding", "llama-embed"}
)


@dataclass(frozen=True, slots=True)
class Gguf:
    """The head of a GGUF file.

    :ivar size: bytes of the whole file.
    :ivar values: the metadata, without arrays.
    :ivar parameters: number of weights.
    :ivar needed: bytes that the file has at least, by where its tensors begin.
    """

    size: int
    values: dict[str, Value]
    parameters: int
    needed: int

    @property
    def architecture(self) -> str:
        """Such as ``llama``."""
        return self.text("general.architecture") or "unknown"

    @property
    def quantisation(self) -> str:
        """Such as ``Q4_K_M``: the kind of most of the weights."""
        kind = self.values.get("general.file_type")
        known = isinstance(kind, int) and 0 <= kind < len(_FILE_TYPES)
        return (_FILE_TYPES[int(kind)] if known and kind is not None else "") or "unknown"

    @property
    def trained(self) -> int | None:
        """Tokens of context that it was trained with."""
        value = self.values.get(f"{self.architecture}.context_length")
        return value if isinstance(value, int) else None

    def text(self, key: str) -> str | None:
        """A value that is a text, if there is one that is not empty."""
        value = self.values.get(key)
        return value if isinstance(value, str) and value else None


def read(path: Path) -> Gguf:
    """Read the head of ``path``: some hundredths of a second, most of it for the vocabulary.

    :raises ModelUnreadable: it is no GGUF file, is cut off, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(8)
            if magic[:4] != b"GGUF" or len(magic) < 8:  # noqa: PLR2004 - magic and version, four bytes each
                raise ModelUnreadable(f"{path} is not a GGUF file; espeer runs GGUF models only")
            (version,) = struct.unpack("<I", magic[4:])
            if version not in _VERSIONS:
                raise ModelUnreadable(f"{path} is GGUF version {version}; versions 2 and 3 can be read: convert the model anew")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(data).head()
    except OSError as error:
        raise ModelUnreadable(f"cannot read {path}: {error.strerror}; check its permissions") from error
    except EOFError as error:
        raise ModelUnreadable(f"{path} is cut off or damaged; get the file anew") from error


def refusal(head: Gguf, *, memory: int | None = None) -> str | None:
    """Why this model cannot be run, as the end of "X ..." with what to do; None where nothing speaks against it.

    :param memory: bytes that the machine has; None if that is not known.
    """
    kind = head.text("general.type") or "model"
    causal = head.values.get(f"{head.architecture}.attention.causal", True)
    reasons = (
        (
            head.values.get("split.count", 1) != 1,
            "is one part of a model that was split; join the parts with llama-gguf-split --merge",
        ),
        (
            kind == "mmproj" or head.architecture == "clip",
            "holds the image encoder of a model (mmproj), not the model; name the other file",
        ),
        (kind == "adapter", "is a LoRA adapter, not a model; merge it into its base model with llama-export-lora"),
        (kind == "vocab" or head.parameters == 0, "holds a vocabulary and no weights; name the model's own file"),
        (
            head.architecture in _ENCODERS or causal is False,
            f"is an embedding model ({head.architecture}), which cannot write; name a language model",
        ),
        (head.needed > head.size, "is cut off: part of the weights is missing; get the file anew"),
        (
            memory is not None and head.size > memory,
            f"has {head.size / 1e9:.1f} GB of weights, more than this machine has memory; take a smaller model or quantisation",
        ),
    )
    return next((reason for applies, reason in reasons if applies), None)


class _Reader:
    """A place in the mapped file. Reading beyond its end raises EOFError."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 8

    def head(self) -> Gguf:
        tensors, pairs = self._u64(), self._u64()
        values: dict[str, Value] = {}
        for _ in range(pairs):  # each takes a byte at least: it ends where the file does
            key = self._string()
            value = self._value(self._u32())
            if value is not None:
                values[key] = value
        parameters = last = 0
        for _ in range(tensors):
            self._skip(self._u64())
            dimensions = self._u32()
            if dimensions > _MOST_DIMENSIONS:
                raise EOFError
            parameters += prod(self._u64() for _ in range(dimensions))
            self._u32()  # its type
            last = max(last, self._u64())
        alignment = values.get("general.alignment", 32)
        aligned = -(-self._at // alignment) * alignment if isinstance(alignment, int) and alignment > 0 else self._at
        return Gguf(len(self._data), values, parameters, aligned + last + (1 if tensors else 0))

    def _value(self, kind: int) -> Value | None:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            self._skip_array()
            return None
        return self._scalar(kind)

    def _skip_array(self) -> None:
        kind, count = self._u32(), self._u64()
        if kind in _SCALARS:
            self._skip(count * struct.calcsize(_SCALARS[kind]))
        elif kind == _STRING:
            for _ in range(count):
                self._skip(self._u64())
        else:
            raise EOFError  # arrays of arrays are in the format, but no model has them

    def _scalar(self, kind: int) -> Value:
        if kind not in _SCALARS:
            raise EOFError
        form = _SCALARS[kind]
        start = self._skip(struct.calcsize(form))
        value: Value = struct.unpack_from(form, self._data, start)[0]
        return value

    def _u32(self) -> int:
        return int(struct.unpack_from("<I", self._data, self._skip(4))[0])

    def _u64(self) -> int:
        return int(struct.unpack_from("<Q", self._data, self._skip(8))[0])

    def _string(self) -> str:
        length = self._u64()
        start = self._skip(length)
        return self._data[start : start + length].decode(errors="replace")

    def _skip(self, count: int) -> int:
        """Go on by ``count`` bytes; where they begin."""
        start = self._at
        if count > len(self._data) - start:
            raise EOFError
        self._at += count
        return start
