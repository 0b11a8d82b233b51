"""ONNX: the tensors of a model's graph, inline or in files beside it, without the onnx library.

Initialisers and the weights of ``Constant`` nodes, in branches and loops as well. The numbers of fields and
element types: ``onnx/onnx.proto``. A matrix that the exporter turned and renamed
(``onnx::MatMul_123``) gets back the name and the layout of the layer that uses it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.checkpoint.parsing.onnx_graph import Graph, Node, text
from bitfit_probe.checkpoint.parsing.protobuf import Field, fields, varints
from bitfit_probe.checkpoint.registry import Naming
from bitfit_probe.checkpoint.sharded import inside
from bitfit_probe.checkpoint.storage.dtypes import BY_NAME, DType
from bitfit_probe.checkpoint.storage.tensor import File, FileStorage, MemoryStorage, Storage, Tensor
from bitfit_probe.errors import CorruptError, MissingShardError, UnsupportedError

__all__ = ["NAMING", "matches", "read"]

NAMING = Naming(
    suffixes=(".onnx",), standard=("model.onnx",), priority=3, is_export=True, has_companions=True
)

_GRAPH = 7
_DIMS, _TYPE, _FLOATS, _INT32S, _INT64S, _TENSOR_NAME, _RAW, _DOUBLES, _UINT64S, _EXTERNAL, _LOCATION = (
    1, 2, 4, 5, 7, 8, 9, 10, 11, 13, 14,
)  # fmt: skip
_TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16", 17: "float8_e4m3fn",
    18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz",
}  # fmt: skip
_FLOATING = frozenset(kind for kind, name in _TYPES.items() if "float" in name)
_FIXED_WIDTH = {_FLOATS: "float32", _DOUBLES: "float64"}
_MOST_PACKED, _MOST_AXES = 1 << 22, 32


@dataclass
class _Initialiser:
    """A tensor as the graph describes it."""

    name: str = ""
    shape: list[int] = field(default_factory=list)
    kind: int = 0
    raw: Field | None = None
    packed: dict[int, list[Field]] = field(default_factory=dict)
    external: dict[str, str] = field(default_factory=dict)


def matches(head: bytes, file: File) -> bool:
    """Whether a message with ONNX's version in front is in a file of its name."""
    return file.path.suffix in NAMING.suffixes and head[:1] == b"\x08"


def read(file: File, key: str | None = None) -> Checkpoint:
    """Find the initialisers; their values stay in the file, or in those that it names.

    Raises
    ------
    CorruptError
        The message ends too early, or a tensor's shape and bytes contradict each other.
    EscapesError, MissingShardError
        It names a file outside its directory, or one that is absent.
    """
    try:
        graph = _only(file, _GRAPH, 0, file.size)
        if graph is None:
            raise ValueError("no graph")
        found = Graph.of(file, graph)
        files: dict[str, File] = {}
        tensors = {item.name: _tensor(file, item, files) for item in _weights(file, found)}
        renamed = _layers(found.nodes, tensors)
    except (ValueError, OverflowError) as error:
        raise CorruptError(
            f"no valid ONNX message ({error})", advice="export it again, or copy it again", path=file.path
        ) from error
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        better = renamed.get(name, tensor)
        out[name if better.name in out or better.name in tensors else better.name] = better
    how = f"ONNX, {len(files)} external files" if files else "ONNX"
    return Checkpoint(file.path, how, out, (file, *files.values()))


def _only(file: File, number: int, start: int, stop: int) -> Field | None:
    return next((item for item in fields(file, start, stop) if item.number == number), None)


def _weights(file: File, graph: Graph) -> Iterator[_Initialiser]:
    for scope, part in graph.initialisers:
        item = _initialiser(file, part)
        yield replace(item, name=f"{scope or ''}{item.name}")
    for name, part in graph.constants:
        item = replace(_initialiser(file, part), name=name)
        # The other constants are settings: axes, shapes, an epsilon.
        if item.kind in _FLOATING and math.prod(item.shape) > 1:
            yield item


def _initialiser(file: File, part: Field) -> _Initialiser:
    out = _Initialiser()
    for item in fields(file, part.start, part.start + part.size):
        if item.number == _DIMS:
            out.shape += [item.value] if item.value is not None else varints(file, item.start, _end(item))
        elif item.number == _TYPE and item.value is not None:
            out.kind = item.value
        elif item.number == _TENSOR_NAME:
            out.name = text(file, item)
        elif item.number == _RAW:
            out.raw = item
        elif item.number == _EXTERNAL:
            pair = [text(file, entry) for entry in fields(file, item.start, _end(item))]
            if len(pair) != 2:
                raise ValueError("an entry of external data that is no key and value")
            out.external[pair[0]] = pair[1]
        elif item.number in (_FLOATS, _INT32S, _INT64S, _DOUBLES, _UINT64S):
            out.packed.setdefault(item.number, []).append(item)
        if len(out.shape) > _MOST_AXES:
            raise ValueError(f"more than {_MOST_AXES} axes")
    return out


def _end(item: Field) -> int:
    return item.start + item.size


def _tensor(file: File, item: _Initialiser, files: dict[str, File]) -> Tensor:
    name = _TYPES.get(item.kind)
    if name is None:
        raise UnsupportedError(
            f"{item.name!r} has ONNX's element type {item.kind}, which is not read",
            advice="export the model in float32, float16 or bfloat16",
            path=file.path,
        )
    dtype, shape = BY_NAME[name], tuple(item.shape)
    return Tensor.contiguous(item.name, dtype, shape, _storage(file, item, dtype, files))


def _storage(file: File, item: _Initialiser, dtype: DType, files: dict[str, File]) -> Storage:
    size = math.prod(item.shape) * dtype.itemsize
    if item.external:
        return _external(file, item, size, files)
    if item.raw is not None:
        return FileStorage(file, item.raw.start, item.raw.size)
    if not item.packed:
        if size:
            raise ValueError(f"{item.name!r} has no data")
        return MemoryStorage(np.empty(0, np.uint8))
    (number, parts), *_ = item.packed.items()
    if _FIXED_WIDTH.get(number) == dtype.name and len(parts) == 1 and parts[0].size == size:
        return FileStorage(file, parts[0].start, size)
    return MemoryStorage(_unpacked(file, parts, dtype))


def _unpacked(file: File, parts: list[Field], dtype: DType) -> Any:
    """Numbers of varying width, such as float16 held as the bits of integers."""
    if sum(part.size for part in parts) > _MOST_PACKED:
        raise ValueError("numbers that are packed one by one, and too many of them")
    numbers: list[int] = []
    for part in parts:
        numbers += [part.value] if part.value is not None else varints(file, part.start, _end(part))
    bits = np.array([number & (2**64 - 1) for number in numbers], np.uint64)
    return bits.astype(f"<u{dtype.itemsize}").view(np.uint8)


def _external(file: File, item: _Initialiser, size: int, files: dict[str, File]) -> Storage:
    location = item.external.get("location", "")
    if location not in files:
        path = inside(file.path.parent, location)
        if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises where a name is too long
            raise MissingShardError(
                f"names {location!r}, which is absent", advice="copy that file as well", path=file.path
            )
        files[location] = File(path)
    offset, length = (
        int(item.external.get(name) or default) for name, default in (("offset", 0), ("length", size))
    )
    if length < size:
        raise ValueError(f"{item.name!r} has {length:,} bytes for {size:,}")
    return FileStorage(files[location], offset, size)


# Names --------------------------------------------------------------------------------------------


def _layers(nodes: list[Node], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Turned matrices under their layer's name: ``/layer.0/query/MatMul`` is layer.0.query.weight."""
    out = {}
    for node in nodes:
        for matrix in _nameless(node.inputs, tensors) if node.operation == "MatMul" else ():
            tensor, module = tensors[matrix], node.name.strip("/").rpartition("/")[0].replace("/", ".")
            if module and len(tensor.shape) == 2:
                turned = replace(tensor, shape=tensor.shape[::-1], strides=tensor.strides[::-1])
                out[matrix] = replace(turned, name=f"{module}.weight")
    return out


def _nameless(inputs: list[str], tensors: dict[str, Tensor]) -> Iterator[str]:
    return (name for name in inputs if name in tensors and name.startswith("onnx::MatMul"))
