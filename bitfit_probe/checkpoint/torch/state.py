"""From what a torch pickle describes to named tensors: dtypes and storages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bitfit_probe.checkpoint.storage.dtypes import BY_NAME, DType
from bitfit_probe.checkpoint.storage.tensor import Storage, Tensor
from bitfit_probe.checkpoint.torch.unpickle import StorageRef, TensorRef, is_rebuilt
from bitfit_probe.errors import CorruptError, UnsupportedError
from bitfit_probe.frozen import Frozen

__all__ = ["StateDict", "needs_torch", "storage_dtype", "tensors_of"]

_STORAGE_TYPES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
    "Untyped": "uint8",
}

#: Each takes some hundred bytes of memory, and a pickle can name one tensor a million times.
_MAX_TENSORS = 160_000


class StateDict(Frozen):
    """A state dict inside a checkpoint: the key that leads to it, and what it maps."""

    key: str
    entries: dict[str, Any]


def storage_dtype(ref: StorageRef, path: Path) -> DType:
    """Element type of a storage; raises UnsupportedError for a kind that is not known."""
    if ref.kind not in _STORAGE_TYPES:
        raise UnsupportedError(
            f"a tensor is held in a {ref.kind}Storage, which is not read",
            advice="save it again with a current PyTorch",
            path=path,
        )
    return BY_NAME[_STORAGE_TYPES[ref.kind]]


def tensors_of(state: StateDict, storage: Callable[[StorageRef], Storage], path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict; entries that are none (counters, versions) are left out.

    Raises
    ------
    CorruptError
        A tensor looks beyond its storage.
    UnsupportedError
        An element type is not known.
    """
    out: dict[str, Tensor] = {}
    for name, ref in state.entries.items():
        if not isinstance(ref, TensorRef):
            continue
        if len(out) == _MAX_TENSORS:
            raise CorruptError(
                f"more than {_MAX_TENSORS:,} tensors", advice="save the model in several files", path=path
            )
        dtype = _dtype(ref, path)
        try:
            out[name] = Tensor(
                name,
                dtype,
                ref.shape,
                storage(ref.storage),
                ref.offset + ref.storage.offset,
                ref.strides,
            )
        except ValueError as error:
            raise CorruptError(str(error), advice="copy or download it again", path=path) from error
    return out


def _dtype(ref: TensorRef, path: Path) -> DType:
    if ref.dtype is None:
        return storage_dtype(ref.storage, path)
    if ref.dtype not in BY_NAME:
        raise UnsupportedError(
            f"a tensor has the element type {ref.dtype}, which is not read",
            advice="convert it to float32, float16 or bfloat16",
            path=path,
        )
    return BY_NAME[ref.dtype]


def needs_torch(state: StateDict) -> bool:
    """Whether an entry is a tensor of a kind (sparse, quantised) that only torch can rebuild."""
    return any(map(is_rebuilt, state.entries.values()))
