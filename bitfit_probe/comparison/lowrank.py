"""Whether the change of a matrix is of low rank, up to the rounding of the type that it is stored in.

A merged LoRA adds B·A of rank r to a matrix; full fine-tuning moves all directions. A random sketch tells
them apart in two passes over the rows, without ever holding the whole change (Halko, Martinsson & Tropp
2011, §4.1 and §5.5).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from bitfit_probe.align import TensorPair
from bitfit_probe.checkpoint.storage.computed import rows_of
from bitfit_probe.checkpoint.storage.dtypes import DType
from bitfit_probe.frozen import Frozen

if TYPE_CHECKING:
    import numpy.typing as npt

    Float64: TypeAlias = npt.NDArray[np.float64]

__all__ = ["LowRank", "is_low_rank", "low_rank"]

#: Ranks in use rarely exceed this; for small matrices a quarter of the smaller side is "low".
_MAX_RANK = 128
_OVERSAMPLING = 8
#: The sketch must hold nearly all of the change: a change that is mostly rounding proves nothing.
_MOST = 0.95
_ELEMENTS_A_BLOCK = 1 << 18
#: Singular values below this share of the largest are float64's own rounding.
_NOTHING = 1e-6


class LowRank(Frozen):
    """The rank of a change, and the share of ‖Δ‖² that a matrix of that rank leaves over."""

    rank: int
    left: float


def is_low_rank(pair: TensorPair) -> bool:
    """Whether Δ = t − b equals a matrix of rank at most min(128, smaller side / 4) up to rounding."""
    return low_rank(pair) is not None


def low_rank(pair: TensorPair, stored: DType | None = None, most: int = _MAX_RANK) -> LowRank | None:
    """The rank of Δ = t − b, where it is at most `most` and a quarter of the smaller side, up to rounding.

    What the sketch leaves over must be no more than rounding t to its type can add, u²·‖t‖², and Δ
    must lie in the sketch for the most part. Values that can't be squared tell nothing, nor do
    those that were quantised so coarsely that rounding may be as large as they are: the answer is None.

    Parameters
    ----------
    pair
        Two matrices; further axes count as columns.
    stored
        The type that the tuned side was rounded to, where it is not the one that it stands in.
    most
        The highest rank to look for; the sketch is that wide and a little more.
    """
    stored = stored or pair.tuned.dtype
    if (stored.roundoff or 0.0) >= 1:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        return _low_rank(pair, stored, most)


def _low_rank(pair: TensorPair, stored: DType, most: int) -> LowRank | None:
    side = min(pair.base.shape[0], math.prod(pair.base.shape[1:]))
    rank = min(most, side // 4)
    # A sketch as wide as the matrix would hold any change.
    sketch = _sketched(pair, min(rank + _OVERSAMPLING, side - 1)) if rank else None
    if sketch is None or sketch.total == 0:
        return None
    basis, _ = np.linalg.qr(sketch.values)
    captured = np.zeros((basis.shape[1], len(sketch.by_column)))
    for start, base, tuned in _blocks(pair):
        captured += basis[start : start + len(base)].T @ (tuned - base)
    total, unit = sketch.total, stored.roundoff or 0.0
    rest = max(total - float(np.sum(captured * captured)), 0.0)
    if rest > unit**2 * float(np.sum(sketch.by_row)) + 1e-10 * total or rest > (1 - _MOST) * total:
        return None
    # The largest singular value of noise that differs from element to element lies near its largest row and
    # column (Bandeira & van Handel 2016); that of rounding is at most u·|t|, in the mean of squares a third.
    widest = math.sqrt(float(sketch.by_row.max())) + math.sqrt(float(sketch.by_column.max()))
    return _ranked(captured, unit / math.sqrt(3) * widest, total, rest)


class _Sketch(Frozen):
    """Δ on random directions, ‖Δ‖², and the squares of t by row and column."""

    values: Float64
    total: float
    by_row: Float64
    by_column: Float64


def _sketched(pair: TensorPair, width: int) -> _Sketch | None:
    """None where something is not finite."""
    rows, columns = pair.base.shape[0], math.prod(pair.base.shape[1:])
    # A fixed seed: the same files must give the same verdict.
    test = np.random.default_rng(0).standard_normal((columns, width))
    values, total = np.empty((rows, width)), 0.0
    by_row, by_column = np.zeros(rows), np.zeros(columns)
    for start, base, tuned in _blocks(pair):
        delta, squares = tuned - base, tuned * tuned
        if not np.isfinite(delta).all():
            return None
        values[start : start + len(base)] = delta @ test
        total += float(np.sum(delta * delta))
        by_row[start : start + len(base)] = np.sum(squares, axis=1)
        by_column += np.sum(squares, axis=0)
    finite = math.isfinite(total + float(np.sum(by_row)))
    return _Sketch(values, total, by_row, by_column) if finite else None


def _blocks(pair: TensorPair) -> Iterator[tuple[int, Float64, Float64]]:
    rows, columns = pair.base.shape[0], math.prod(pair.base.shape[1:])
    step = max(_ELEMENTS_A_BLOCK // columns, 1)
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        yield start, rows_of(pair.base, start, stop), rows_of(pair.tuned, start, stop)


def _ranked(captured: Float64, rounding: float, total: float, rest: float) -> LowRank:
    """How many directions stand above what rounding alone would make of the largest one."""
    values = np.linalg.svd(captured, compute_uv=False)
    rank = max(int(np.sum(values > max(rounding, _NOTHING * values[0]))), 1)
    lost = rest + float(np.sum(values[rank:] ** 2))
    return LowRank(rank, lost / total)
