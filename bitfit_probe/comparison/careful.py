"""The same sums as `bitfit_probe.comparison.kernel` for types that float64 arithmetic can't take as they are.

64-bit integers beyond 2⁵³ are compared and subtracted as integers. Squares of float64 values beyond 1e154 or
below 1e-154 leave float64's range, so values and differences are
scaled by powers of two, which rounds nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bitfit_probe.checkpoint.storage.tensor import Tensor
from bitfit_probe.comparison.kernel import (
    BLOCK,
    WIDE,
    Span,
    Sums,
    Workspace,
    count_above,
    count_changed,
    set_nonfinite_apart,
    steps,
)

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["careful_statistics", "needs_care"]

Float64: TypeAlias = "npt.NDArray[np.float64]"

#: Squares of magnitudes between these stay normal numbers, and so do sums of many.
_SMALLEST, _LARGEST = 1e-140, 1e140


def needs_care(base: Tensor, tuned: Tensor) -> bool:
    """Whether a pair is for this path."""
    return bool(WIDE & {base.dtype.name, tuned.dtype.name})


@np.errstate(all="ignore")
def careful_statistics(span: Span, work: Workspace) -> Sums:
    """The sums over the elements of `span`."""
    base, tuned, target = span.base, span.tuned, span.target
    integers = base.dtype.is_integer and tuned.dtype.is_integer
    rounded = span.rounded and not integers
    total = Sums()
    for at in range(span.start, span.stop, BLOCK):
        end = min(at + BLOCK, span.stop)
        b, t = work.base[: end - at], work.tuned[: end - at]
        ours, theirs = work.load(0, base, at, end), work.load(1, tuned, at, end)
        base.dtype.decode(ours, b)
        tuned.dtype.decode(theirs, t)
        sums = Sums(count=end - at)
        sums.changed = int(np.count_nonzero(ours != theirs)) if integers else count_changed(b, t)
        sums.above_rounding = (
            count_above(b, t, base.dtype, target, steps(base, tuned, at, b, t)) if rounded else sums.changed
        )
        set_nonfinite_apart(sums, b, t)
        sums.sign_flips = int(np.count_nonzero(((b < 0) & (t > 0)) | ((b > 0) & (t < 0))))
        _add_scaled(sums, b, t, _integer_difference(ours, theirs, t - b) if integers else t - b)
        total.add(sums)
    return total


def _integer_difference(ours: npt.NDArray[Any], theirs: npt.NDArray[Any], rough: Float64) -> Float64:
    """The difference theirs − ours, rounded once; `rough` is that of the rounded values."""
    up = theirs > ours
    b, t = ours.astype(np.uint64), theirs.astype(np.uint64)  # negative numbers wrap, and so do differences
    size = np.where(up, t - b, b - t).astype(np.float64)
    return np.where(np.abs(rough) < 2.0**63, np.where(up, size, -size), rough)


def _add_scaled(sums: Sums, b: Float64, t: Float64, d: Float64) -> None:
    lifted = 0
    if not np.isfinite(d).all():  # the difference of two that it holds may be beyond float64
        d, lifted = np.ldexp(t, -1) - np.ldexp(b, -1), 1
    own = _exponent(d)
    d, sums.delta_exponent = np.ldexp(d, -own), lifted + own
    sums.base_exponent, sums.tuned_exponent = _exponent(b), _exponent(t)
    b, t = np.ldexp(b, -sums.base_exponent), np.ldexp(t, -sums.tuned_exponent)
    sums.base_square, sums.tuned_square = float(np.dot(b, b)), float(np.dot(t, t))
    sums.product = float(np.add.reduce(b * t))
    sums.delta_square, sums.delta = float(np.dot(d, d)), float(np.add.reduce(d))
    sizes = np.abs(d)
    sums.delta_abs, sums.delta_max = float(np.add.reduce(sizes)), float(np.max(sizes, initial=0.0))


def _exponent(values: Float64) -> int:
    """The power of two that brings the largest magnitude near 1; 0 where squares are in range as they are."""
    peak = float(np.max(np.abs(values), initial=0.0))
    return 0 if not peak or _SMALLEST < peak < _LARGEST else math.frexp(peak)[1]
