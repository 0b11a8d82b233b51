"""Whether the change of a matrix is of low rank, up to the rounding of the type that it is stored in.

A merged LoRA adds B·A of rank r to a matrix; full fine-tuning moves all directions. A random sketch tells
them apart in two passes over the rows, without ever holding the whole change (Halko, Martinsson & Tropp
2011, §4.1 and §5.5).
"""

from __future__ import annotations

import math

import numpy as np

from bitfit_probe.align import TensorPair
from bitfit_probe.checkpoint.storage.computed import rows_of

__all__ = ["is_low_rank"]

#: Ranks in use rarely exceed this; for small matrices a quarter of the smaller side is "low".
_MAX_RANK = 128
_OVERSAMPLING = 8
#: The sketch must hold nearly all of the change: a change that is mostly rounding proves nothing.
_MOST = 0.95
_ELEMENTS_A_BLOCK = 1 << 18


def is_low_rank(pair: TensorPair) -> bool:
    """Whether Δ = t − b equals a matrix of rank at most min(128, smaller side / 4) up to rounding.

    What the sketch leaves over must be no more than rounding t to its type can add, u²·‖t‖², and Δ
    must lie in the sketch for the most part. Values that can't be squared tell nothing, nor do
    those that were quantised so coarsely that rounding may be as large as they are: the answer is no.
    """
    if (pair.tuned.dtype.roundoff or 0.0) >= 1:
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        return _is_low_rank(pair)


def _is_low_rank(pair: TensorPair) -> bool:
    rows, columns = pair.base.shape[0], math.prod(pair.base.shape[1:])
    side = min(rows, columns)
    rank = min(_MAX_RANK, side // 4)
    if rank < 1:
        return False
    width = min(rank + _OVERSAMPLING, side - 1)  # a sketch as wide as the matrix would hold any change
    # A fixed seed: the same files must give the same verdict.
    test = np.random.default_rng(0).standard_normal((columns, width))
    sketch, total, size = np.empty((rows, test.shape[1])), 0.0, 0.0
    step = max(_ELEMENTS_A_BLOCK // columns, 1)
    for start in range(0, rows, step):
        base, tuned = (rows_of(t, start, min(start + step, rows)) for t in (pair.base, pair.tuned))
        delta = tuned - base
        if not np.isfinite(delta).all():
            return False
        sketch[start : start + step] = delta @ test
        total += float(np.sum(delta * delta))
        size += float(np.sum(tuned * tuned))
    if not math.isfinite(total + size):
        return False
    basis, _ = np.linalg.qr(sketch)
    captured = np.zeros((basis.shape[1], columns))
    for start in range(0, rows, step):
        base, tuned = (rows_of(t, start, min(start + step, rows)) for t in (pair.base, pair.tuned))
        captured += basis[start : start + step].T @ (tuned - base)
    if total == 0:
        return False
    rest = max(total - float(np.sum(captured * captured)), 0.0)
    rounding = (pair.tuned.dtype.roundoff or 0.0) ** 2 * size
    return rest <= rounding + 1e-10 * total and rest <= (1 - _MOST) * total
