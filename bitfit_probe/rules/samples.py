"""A few elements of each tensor: enough to tell two checkpoints apart without reading them again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.checkpoint import Checkpoint, Tensor

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["blocks", "differing"]

#: Elements to read of a tensor: biases whole, of matrices some rows at either end and in the middle.
_WHOLE, _PIECE = 1 << 14, 1 << 12
_BLOCK = 1 << 20


def blocks(tensor: Tensor) -> Iterator[npt.NDArray[np.float64]]:
    """All elements in float64, a million at a time."""
    for start in range(0, tensor.size, _BLOCK):
        yield tensor.block(start, min(start + _BLOCK, tensor.size))


def differing(one: Checkpoint, other: Checkpoint) -> list[str]:
    """Names of `one` that `other` lacks, or holds with another shape, type or (in a sample) other bits."""
    return [name for name, tensor in one.tensors.items() if not _same(tensor, other.tensors.get(name))]


def _same(one: Tensor, other: Tensor | None) -> bool:
    if other is None or one.shape != other.shape or one.dtype.name != other.dtype.name:
        return False
    return all(_bytes(one, *piece) == _bytes(other, *piece) for piece in _pieces(one.size))


def _pieces(size: int) -> Iterator[tuple[int, int]]:
    if size <= _WHOLE:
        yield 0, size
        return
    for start in (0, (size - _PIECE) // 2, size - _PIECE):
        yield start, start + _PIECE


def _bytes(tensor: Tensor, start: int, stop: int) -> bytes:
    raw = np.empty(stop - start, tensor.dtype.storage)
    tensor.read(start, stop, raw)
    return raw.tobytes()
