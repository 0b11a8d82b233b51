"""GGUF, the format of llama.cpp: plain tensors as they are, quantised ones dequantised by the gguf library.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The header is read here, the library tells
how llama.cpp calls a model's tensors and what quantised blocks mean.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.checkpoint.registry import Naming
from bitfit_probe.checkpoint.storage.computed import RowStorage
from bitfit_probe.checkpoint.storage.dtypes import BY_NAME, DType
from bitfit_probe.checkpoint.storage.tensor import Array, File, FileStorage, Tensor
from bitfit_probe.errors import CorruptError, MissingExtraError, TruncatedError, UnsupportedError
from bitfit_probe.frozen import Frozen

__all__ = ["NAMING", "matches", "read"]

NAMING = Naming(suffixes=(".gguf",), standard=("model.gguf",), priority=2, is_export=True)

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
#: Bounds on what a header may announce; the largest models have a few thousand tensors.
_MOST_ENTRIES, _MOST_ITEMS, _LONGEST, _MOST_AXES = 1 << 16, 1 << 22, 1 << 24, 4
_MOST_LAYER_DIGITS = 3
_SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
_PLAIN = {
    0: "float32", 1: "float16", 24: "int8", 25: "int16", 26: "int32", 27: "int64", 28: "float64",
    30: "bfloat16",
}  # fmt: skip
#: Architectures whose tensors llama.cpp's converter leaves as they are, and those that it rearranges in a way
#: that is undone here. Others split, reorder or shift tensors.
_AS_THEY_ARE = frozenset({"bert", "phi2", "phi3", "qwen2", "qwen3", "stablelm", "starcoder2"})
#: ``GemmaModel.modify_tensors`` of its converter: the class multiplies by 1 + w.
_SHIFTED = frozenset({"gemma", "gemma2", "gemma3"})
_ONE_MORE = " (its norm weights are stored + 1: they are not corrupted)"
_TURNED = {"gpt2": ("attn_qkv.weight", "attn_output.weight", "ffn_up.weight", "ffn_down.weight")}
_PERMUTED = {"llama": {"attn_q": "attention.head_count", "attn_k": "attention.head_count_kv"}}


class _Info(Frozen):
    """A tensor as the header announces it; `kind` is ggml's number of its type."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


def matches(head: bytes, file: File) -> bool:
    """Whether the file starts with GGUF's four letters, and is no safetensors file of that header length."""
    return head.startswith(_MAGIC) and head[8:9] != b"{"


def read(file: File, key: str | None = None) -> Checkpoint:
    """Read the header; the tensors stay in the file.

    Raises
    ------
    TruncatedError, CorruptError
        The header or the data end too early, or contradict themselves.
    UnsupportedError
        An architecture whose tensors llama.cpp rearranges in ways that are not undone here.
    MissingExtraError
        The gguf library is not installed.
    """
    try:
        metadata, infos, start = _header(_Cursor(file))
    except (ValueError, struct.error, OverflowError) as error:
        raise _corrupt(file, f"the header contradicts itself ({error})") from error
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str):
        raise _corrupt(file, "the header names no architecture")
    if architecture not in (*_AS_THEY_ARE, *_TURNED, *_PERMUTED):
        raise UnsupportedError(
            f"a GGUF file of the architecture {architecture[:40]!r}, whose tensors llama.cpp rearranges"
            f"{_ONE_MORE if architecture in _SHIFTED else ''}",
            advice="compare the checkpoint that it was converted from",
            path=file.path,
        )
    library = _library()
    tensors = {}
    for info in infos:
        try:
            stored = _stored(file, info, start, library)
            tensors[info.name] = _arranged(stored, architecture, metadata)
        except ValueError as error:
            raise _corrupt(file, str(error)) from error
    if len(tensors) != len(infos):
        raise _corrupt(file, "a tensor stands twice")
    kinds = dict.fromkeys(tensor.dtype.name for tensor in tensors.values())
    aliases = _aliases(library, architecture, tensors)
    return Checkpoint(file.path, f"GGUF ({', '.join(kinds)})", tensors, (file,), aliases=aliases)


def _corrupt(file: File, what: str) -> CorruptError:
    return CorruptError(what, advice="copy or download it again", path=file.path)


def _library() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise MissingExtraError(
            "GGUF files need the gguf package", advice="pip install 'bitfit-probe[gguf]'"
        ) from error
    return gguf


# Header -------------------------------------------------------------------------------------------


class _Cursor:
    """Reads a header from front to back, through a buffer."""

    _BITE = 1 << 16

    def __init__(self, file: File) -> None:
        self.file, self.at = file, 0
        self._items = 0
        self._buffer, self._start = b"", 0

    def take(self, count: int) -> bytes:
        if count > _LONGEST:
            raise ValueError(f"an entry of {count:,} bytes")
        if self.at + count > self.file.size:
            raise TruncatedError(
                "the file ends within its header", advice="copy or download it again", path=self.file.path
            )
        if self.at + count > self._start + len(self._buffer):
            self._start = self.at
            self._buffer = self.file.read(self.at, min(max(count, self._BITE), self.file.size - self.at))
        data = self._buffer[self.at - self._start :][:count]
        self.at += count
        return data

    def scalar(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def string(self) -> str:
        return self.take(self.scalar("<Q")).decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        """A value of the metadata; of arrays only the length, since none is needed."""
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY:
            return self.scalar(_SCALARS[kind]) if kind in _SCALARS else self._unknown(kind)
        inner, count = self.scalar("<I"), self.scalar("<Q")
        self._items += count
        if self._items > _MOST_ITEMS or inner == _ARRAY:
            raise ValueError(f"an array of {count:,} items")
        for _ in range(count):
            self.value(inner)
        return None

    def _unknown(self, kind: int) -> Any:
        raise ValueError(f"metadata of the unknown type {kind}")


def _header(cursor: _Cursor) -> tuple[dict[str, Any], list[_Info], int]:
    cursor.take(len(_MAGIC))
    version, tensors, entries = cursor.scalar("<I"), cursor.scalar("<Q"), cursor.scalar("<Q")
    if version not in _VERSIONS:
        raise UnsupportedError(
            f"a GGUF file of version {version}",
            advice="convert it again with a current llama.cpp",
            path=cursor.file.path,
        )
    if tensors > _MOST_ENTRIES or entries > _MOST_ENTRIES:
        raise ValueError(f"{tensors:,} tensors and {entries:,} entries")
    metadata = {cursor.string(): cursor.value(cursor.scalar("<I")) for _ in range(entries)}
    infos = [_info(cursor) for _ in range(tensors)]
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or not 0 < alignment <= 1 << 20:
        raise ValueError("an impossible alignment")
    return metadata, infos, -(-cursor.at // alignment) * alignment


def _info(cursor: _Cursor) -> _Info:
    name, axes = cursor.string(), cursor.scalar("<I")
    if axes > _MOST_AXES:
        raise ValueError(f"{name!r} has {axes} axes")
    shape = tuple(cursor.scalar("<Q") for _ in range(axes))[::-1]  # ggml counts from the innermost axis
    return _Info(name, shape, cursor.scalar("<I"), cursor.scalar("<Q"))


# Tensors ------------------------------------------------------------------------------------------


def _stored(file: File, info: _Info, start: int, library: Any) -> Tensor:
    """The tensor as it is stored; quantised ones are dequantised by rows when they are read."""
    if info.kind in _PLAIN:
        dtype = BY_NAME[_PLAIN[info.kind]]
        storage = FileStorage(file, start + info.offset, math.prod(info.shape) * dtype.itemsize)
        return Tensor.contiguous(info.name, dtype, info.shape, storage)
    kind, dtype = _quantised(file, info, library)
    elements, size = library.GGML_QUANT_SIZES[kind]
    columns = info.shape[-1] if info.shape else 1
    if columns % elements or not columns:
        raise ValueError(f"{info.name!r}: rows of {columns} elements in blocks of {elements}")
    rows, width = math.prod(info.shape[:-1]), columns // elements * size
    raw = FileStorage(file, start + info.offset, rows * width)

    def dequantised(first: int, last: int) -> Array:
        data = np.empty((last - first) * width, np.uint8)
        raw.read_into(data, first * width)
        with np.errstate(all="ignore"):  # scales of infinity are a finding, not a warning
            values = library.quants.dequantize(data.reshape(last - first, width), kind)
        return np.ascontiguousarray(values, "<f4")

    return Tensor.contiguous(info.name, dtype, info.shape, RowStorage(rows, columns, dequantised, 4))


def _quantised(file: File, info: _Info, library: Any) -> tuple[Any, DType]:
    try:
        kind = library.GGMLQuantizationType(info.kind)
        return kind, BY_NAME[kind.name.lower()]
    except (ValueError, KeyError) as error:
        raise UnsupportedError(
            f"{info.name!r} has ggml's type {info.kind}, which is not read",
            advice="convert it to F16, BF16 or Q8_0 with llama.cpp",
            path=file.path,
        ) from error


def _arranged(tensor: Tensor, architecture: str, metadata: dict[str, Any]) -> Tensor:
    """`tensor` as it was before llama.cpp's converter rearranged it."""
    if tensor.name.endswith(_TURNED.get(architecture, ())) and len(tensor.shape) == 2:
        if tensor.dtype.block:
            raise ValueError(f"{tensor.name!r}: quantised along the axis that the model keeps apart")
        return replace(tensor, shape=tensor.shape[::-1], strides=tensor.strides[::-1])
    for module, key in _PERMUTED.get(architecture, {}).items():
        if f".{module}." in tensor.name:
            every = metadata.get(f"{architecture}.attention.head_count")
            heads = metadata.get(f"{architecture}.{key}", every)
            if type(heads) is not int or heads < 1 or not tensor.shape or tensor.shape[0] % (2 * heads):
                raise ValueError(f"{tensor.name!r}: rows that don't fit {heads!r} heads")
            return _unpermuted(tensor, tensor.shape[0] // heads)
    return tensor


def _unpermuted(tensor: Tensor, width: int) -> Tensor:
    """Rows in the order of Hugging Face's rotary embedding: halves of a head apart, not in pairs.

    llama.cpp stores row (half s, place j) of a head at 2j + s (``LlamaModel.permute`` of its converter).
    """
    columns = math.prod(tensor.shape[1:])

    def rows(start: int, stop: int) -> Array:
        head, row = np.divmod(np.arange(start, stop), width)
        half, place = np.divmod(row, width // 2)
        source = head * width + 2 * place + half
        low, high = int(source.min()), int(source.max()) + 1
        data = np.empty((high - low) * columns, tensor.dtype.storage)
        tensor.read(low * columns, high * columns, data)
        taken: Array = data.reshape(high - low, columns)[source - low]
        return taken

    storage = RowStorage(tensor.shape[0], columns, rows, tensor.dtype.itemsize)
    return Tensor.contiguous(tensor.name, tensor.dtype, tensor.shape, storage)


# Names --------------------------------------------------------------------------------------------


def _aliases(library: Any, architecture: str, tensors: dict[str, Tensor]) -> dict[str, tuple[str, ...]]:
    """What other frameworks call the tensors, by llama.cpp's own table."""
    number = next((at for at, name in library.MODEL_ARCH_NAMES.items() if name == architecture), None)
    numbers = (part for name in tensors for part in name.split(".")[1:2])
    # The library's table has an entry a layer, whether the file has that layer or only a name of its number.
    layers = {int(part) for part in numbers if part.isdecimal() and len(part) <= _MOST_LAYER_DIGITS}
    if number is None or not layers:
        return {}
    known = library.get_tensor_name_map(number, max(layers) + 1).mapping
    modules: dict[str, list[str]] = {}
    for theirs, (_, ours) in known.items():
        modules.setdefault(ours, []).append(theirs)
    return {name: tuple(_spelled(modules, name)) for name in tensors}


def _spelled(modules: dict[str, list[str]], name: str) -> Iterator[str]:
    module, _, leaf = name.rpartition(".")
    yield from (f"{theirs}.{leaf}" for theirs in modules.get(module, ()))
