"""Tensors whose values are computed from others, a few rows at a time, so that none is ever held whole."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from bitfit_probe.checkpoint.storage.dtypes import BY_NAME
from bitfit_probe.checkpoint.storage.tensor import Array, Bytes, Tensor

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Float64", "MergedStorage", "RowStorage", "computed", "rows_of"]

Float64: TypeAlias = "npt.NDArray[np.float64]"
#: Elements that are made at once.
_ELEMENTS = 1 << 18


class RowStorage:
    """The bytes of a matrix, made by rows whenever they are asked for.

    Parameters
    ----------
    rows, columns
        Its size.
    make
        Gives rows ``[start, stop)`` as an array of (stop - start) × columns elements.
    itemsize
        Bytes an element of what `make` gives.
    """

    crc32: int | None = None

    def __init__(self, rows: int, columns: int, make: Callable[[int, int], Array], itemsize: int = 8) -> None:
        self.nbytes = rows * columns * itemsize
        self._columns, self._itemsize, self._make = columns, itemsize, make

    def read_into(self, out: Bytes, offset: int) -> None:
        """Fill `out` from byte `offset`."""
        if not len(out):
            return
        row = self._columns * self._itemsize
        step, done = max(_ELEMENTS // self._columns, 1), 0
        while done < len(out):
            first, skip = divmod(offset + done, row)
            last = min(first + step, -(-(offset + len(out)) // row))
            data = np.ascontiguousarray(self._make(first, last)).reshape(-1).view(np.uint8)[skip:]
            count = min(len(data), len(out) - done)
            out[done : done + count] = data[:count]
            done += count


class MergedStorage(RowStorage):
    """Rows that are computed from the base's and what an adapter stores, in float64."""


def computed(name: str, shape: tuple[int, ...], rows: Callable[[int, int], Float64]) -> Tensor:
    """A float64 tensor of `shape` whose rows `rows` computes; a vector has one column."""
    length = math.prod(shape[1:])
    storage = MergedStorage(shape[0] if shape else 1, length, rows)
    return Tensor.contiguous(name, BY_NAME["float64"], shape, storage)


def rows_of(tensor: Tensor, start: int, stop: int) -> Float64:
    """Rows ``[start, stop)`` of `tensor` in float64, shape (stop - start, columns)."""
    columns = math.prod(tensor.shape[1:])
    return tensor.block(start * columns, stop * columns).reshape(stop - start, columns)
