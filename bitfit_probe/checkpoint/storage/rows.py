"""A few rows of a tensor, taken as a matrix: the same ones in every run, from all over it."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from bitfit_probe.checkpoint.storage.tensor import Tensor

if TYPE_CHECKING:
    import numpy.typing as npt

    Float64: TypeAlias = npt.NDArray[np.float64]
    Rows: TypeAlias = npt.NDArray[np.int64]

__all__ = ["block_of", "matrix_shape", "sampled", "some_rows"]

#: Three axes are experts' matrices where the last one is wider than a convolution's window.
_EXPERT_WIDTH = 16
#: Rows are taken in eight places, so that those which are alike for standing together are not all of them.
_PLACES, _ROWS_EACH = 8, 2
#: Elements up to which the sample is the whole tensor; elements in each place where rows are short.
_WHOLE, _SHORT = 1 << 14, 1 << 10
_GOLDEN = (math.sqrt(5) - 1) / 2


def matrix_shape(tensor: Tensor) -> tuple[int, int]:
    """Rows and columns of a tensor: experts below each other, one row a filter of a convolution."""
    shape = tensor.shape
    if len(shape) == 3 and shape[-1] > _EXPERT_WIDTH:
        return shape[0] * shape[1], shape[2]
    return (shape[0], math.prod(shape[1:])) if shape else (1, 1)


def block_of(tensor: Tensor, start: int, stop: int) -> Float64:
    """Rows ``[start, stop)`` in float64, shape (stop - start, columns)."""
    columns = matrix_shape(tensor)[1]
    return tensor.block(start * columns, stop * columns).reshape(stop - start, columns)


def some_rows(tensor: Tensor, rows: Rows) -> Float64:
    """The named rows, sorted, in float64; those that stand together are read at once."""
    cuts = np.flatnonzero(np.diff(rows) != 1) + 1
    runs = np.split(rows, cuts)
    return np.concatenate([block_of(tensor, int(run[0]), int(run[-1]) + 1) for run in runs])


@cache
def sampled(rows: int, columns: int) -> tuple[Rows, bool]:
    """Numbers of rows to look at in a matrix of that size, sorted, and whether these are all."""
    each = max(_ROWS_EACH, -(-_SHORT // max(columns, 1)))
    if rows * columns <= _WHOLE or rows <= _PLACES * each:
        return np.arange(rows), True
    # A place in each eighth, spread by the golden ratio: not at the same place of each head or expert, and
    # the same in every run, so that the same files give the same answers.
    room = (rows - each) / _PLACES
    starts = [int((at + (at + 1) * _GOLDEN % 1) * room) for at in range(_PLACES)]
    return np.unique(np.add.outer(starts, np.arange(each))), False
