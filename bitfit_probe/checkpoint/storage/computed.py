"""Tensors whose values are computed from others, a few rows at a time, so that none is ever held whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from bitfit_probe.checkpoint.storage.dtypes import BY_NAME
from bitfit_probe.checkpoint.storage.tensor import Array, Bytes, Tensor

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "Float64",
    "MergedStorage",
    "QuantisedStorage",
    "RowStorage",
    "computed",
    "packed_parts",
    "packing_of",
    "rows_of",
    "steps_of",
]

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


class QuantisedStorage(RowStorage):
    """float32 rows that are unpacked from codes and scales.

    Parameters
    ----------
    rows, columns
        Its size.
    values, steps
        Give rows ``[start, stop)`` of the values, and of what lies between a value and its farther neighbour
        on the quantiser's grid.
    parts
        The tensors of the file that they are unpacked from.
    packing
        What else their values depend on: where that and the parts' bytes are equal, so are the values.
    """

    def __init__(
        self,
        rows: int,
        columns: int,
        values: Callable[[int, int], Array],
        steps: Callable[[int, int], Array],
        parts: tuple[Tensor, ...],
        packing: Hashable,
    ) -> None:
        super().__init__(rows, columns, values, 4)
        self.steps, self.parts, self.packing = RowStorage(rows, columns, steps, 4), parts, packing


def steps_of(tensor: Tensor, start: int, stop: int, values: Float64) -> Float64:
    """One step of the quantiser for each of `values`, elements ``[start, stop)`` of `tensor`; 0 if plain."""
    if not isinstance(tensor.storage, QuantisedStorage):
        return tensor.dtype.steps(values)
    return replace(tensor, storage=tensor.storage.steps).block(start, stop)


def packed_parts(tensor: Tensor) -> tuple[Tensor, ...]:
    """What of the file `tensor` is unpacked from; none where it is plain."""
    return tensor.storage.parts if isinstance(tensor.storage, QuantisedStorage) else ()


def packing_of(tensor: Tensor) -> Hashable:
    """What the values of `tensor` depend on beside the bytes of its parts; None where it is plain."""
    return tensor.storage.packing if isinstance(tensor.storage, QuantisedStorage) else None


def computed(name: str, shape: tuple[int, ...], rows: Callable[[int, int], Float64]) -> Tensor:
    """A float64 tensor of `shape` whose rows `rows` computes; a vector has one column."""
    length = math.prod(shape[1:])
    storage = MergedStorage(shape[0] if shape else 1, length, rows)
    return Tensor.contiguous(name, BY_NAME["float64"], shape, storage)


def rows_of(tensor: Tensor, start: int, stop: int) -> Float64:
    """Rows ``[start, stop)`` of `tensor` in float64, shape (stop - start, columns)."""
    columns = math.prod(tensor.shape[1:])
    return tensor.block(start * columns, stop * columns).reshape(stop - start, columns)
