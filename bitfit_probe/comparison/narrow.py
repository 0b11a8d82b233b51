"""The sums of `bitfit_probe.comparison.kernel` at twice the pace, for large float32 tensors in good order.

Elements stay float32 and are summed by BLAS in rows so short that rounding stays below 1e-6 of a sum of
one sign: 64 additions a lane and 2⁻²⁴ a step, most of which cancel (Higham 2002, §2.8 and §3.1). Rows are
then summed in float64. Sums that cancel, extreme scales and non-finite values are not for this path: it
notices them, answers None, and the range is done again in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bitfit_probe.checkpoint.storage.tensor import Tensor
from bitfit_probe.comparison.kernel import BLOCK, Sums, Workspace

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["narrow_statistics", "suits"]

_ROW = 2048
#: Shorter tensors are done in float64 at once: there rounding has not averaged out.
_LONG = 1 << 16
#: Squares of elements within these bounds neither vanish nor run over in float32.
_SMALLEST, _LARGEST = 1e-12, 1e12
#: Sums this much smaller than random signs would leave them have lost digits: ⟨b, t⟩, summed in float32,
#: and ΣΔ, summed in float64 from float32 differences.
_CANCELLED_PRODUCT, _CANCELLED_SHIFT = 0.1, 0.03

Float32: TypeAlias = "npt.NDArray[np.float32]"


def suits(base: Tensor, tuned: Tensor) -> bool:
    """Whether a pair may take this path."""
    return base.dtype.name == tuned.dtype.name == "float32" and base.size > _LONG


def narrow_statistics(base: Tensor, tuned: Tensor, start: int, stop: int, work: Workspace) -> Sums | None:
    """The sums over elements ``[start, stop)``; None where they need float64 throughout."""
    sums = Sums()
    for at in range(start, stop, BLOCK):
        end = min(at + BLOCK, stop)
        b, t = _loaded(0, base, at, end, work), _loaded(1, tuned, at, end, work)
        with np.errstate(all="ignore"):  # what runs over or vanishes is noticed by its scale
            if not _add_block(sums, b, t, end - at, work):
                return None
    return None if _lost_digits(sums) else sums


def _loaded(side: int, tensor: Tensor, start: int, stop: int, work: Workspace) -> Float32:
    """Elements ``[start, stop)``, filled up with zeros to whole rows: zeros add nothing to any sum."""
    work.load(side, tensor, start, stop)
    count = stop - start
    padded: Float32 = work.raw[side].view(np.float32)[: -(-count // _ROW) * _ROW]
    padded[count:] = 0
    return padded


def _add_block(sums: Sums, b: Float32, t: Float32, count: int, work: Workspace) -> bool:
    d, a = (buffer.view(np.float32)[: len(b)] for buffer in (work.delta, work.scratch))
    ones, wide = work.ones[: len(b)], work.base[: len(b)]
    np.subtract(t, b, out=d)
    np.abs(d, out=a)
    peak = float(np.maximum.reduce(a))
    base_square, tuned_square = _dot(b, b), _dot(t, t)
    scales = ((base_square / count) ** 0.5, (tuned_square / count) ** 0.5, peak or 1.0)
    if not all(_SMALLEST < scale < _LARGEST for scale in scales):  # as it is for NaN, too
        return False
    sums.count += count
    sums.base_square += base_square
    sums.tuned_square += tuned_square
    sums.product += _dot(b, t)
    sums.delta_square += _dot(d, d)
    np.copyto(wide, d)  # the one sum in which signs cancel needs float64
    sums.delta += float(np.add.reduce(wide))
    sums.delta_abs += _dot(a, ones)
    sums.delta_max = max(sums.delta_max, peak)
    changed = int(np.count_nonzero(np.not_equal(b, t, out=work.mask[: len(b)])))
    sums.changed += changed
    sums.above_rounding += changed
    sums.sign_flips += _sign_flips(b, t, a, work.mask[: len(b)])
    return True


def _dot(one: Float32, two: Float32) -> float:
    rows = np.matmul(one.reshape(-1, 1, _ROW), two.reshape(-1, _ROW, 1))
    return float(np.add.reduce(rows, axis=None, dtype=np.float64))


def _sign_flips(b: Float32, t: Float32, scratch: Float32, mask: npt.NDArray[np.bool_]) -> int:
    """Number of elements whose sign bits differ, both sides not being zero."""
    bits: npt.NDArray[Any] = scratch.view(np.int32)
    np.bitwise_xor(b.view(np.int32), t.view(np.int32), out=bits)
    where = np.flatnonzero(np.less(bits, 0, out=mask))
    return int(np.count_nonzero((b[where] != 0) & (t[where] != 0)))


def _lost_digits(sums: Sums) -> bool:
    shifted = abs(sums.delta) >= _CANCELLED_SHIFT * sums.delta_square**0.5  # a random walk of these steps
    aligned = abs(sums.product) >= _CANCELLED_PRODUCT * (sums.base_square * sums.tuned_square) ** 0.5
    return not (shifted and aligned)
