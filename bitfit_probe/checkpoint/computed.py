"""Tensors whose values are computed from others, a few rows at a time, so that none is ever held whole."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from bitfit_probe.checkpoint.dtypes import BY_NAME
from bitfit_probe.checkpoint.tensor import Bytes, Tensor

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Float64", "RowStorage", "computed", "rows_of"]

Float64: TypeAlias = "npt.NDArray[np.float64]"
#: Rows ``[start, stop)``, shape (stop - start, columns).
Rows: TypeAlias = "Callable[[int, int], Float64]"

_FLOAT64 = BY_NAME["float64"]
#: Elements that are computed at once.
_ELEMENTS = 1 << 18


class RowStorage:
    """The bytes of a float64 matrix, computed by rows whenever they are asked for."""

    crc32: int | None = None

    def __init__(self, rows: int, columns: int, compute: Rows) -> None:
        self.nbytes = rows * columns * _FLOAT64.itemsize
        self._columns, self._compute = columns, compute

    def read_into(self, out: Bytes, offset: int) -> None:
        """Fill `out` from byte `offset`."""
        row = self._columns * _FLOAT64.itemsize
        step, done = max(_ELEMENTS // self._columns, 1), 0
        while done < len(out):
            first, skip = divmod(offset + done, row)
            last = min(first + step, -(-(offset + len(out)) // row))
            data = np.ascontiguousarray(self._compute(first, last)).reshape(-1).view(np.uint8)[skip:]
            count = min(len(data), len(out) - done)
            out[done : done + count] = data[:count]
            done += count


def computed(name: str, shape: tuple[int, ...], rows: Rows) -> Tensor:
    """A float64 tensor of `shape` whose rows `rows` computes; a vector has one column."""
    length = math.prod(shape[1:])
    return Tensor.contiguous(name, _FLOAT64, shape, RowStorage(shape[0] if shape else 1, length, rows))


def rows_of(tensor: Tensor, start: int, stop: int) -> Float64:
    """Rows ``[start, stop)`` of `tensor` in float64, shape (stop - start, columns)."""
    columns = math.prod(tensor.shape[1:])
    return tensor.block(start * columns, stop * columns).reshape(stop - start, columns)
