"""The inner loop: two ranges of elements in, sums out, in blocks that stay in the processor's cache.

Every figure is summed in float64 from exactly widened values, so heavy tails, large offsets and
cancellation cost no digits; a float32 loop is faster on paper only, since memory sets the pace.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from bitfit_probe.checkpoint.storage.computed import steps_of
from bitfit_probe.checkpoint.storage.dtypes import BY_NAME, DType
from bitfit_probe.checkpoint.storage.tensor import Tensor

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "BLOCK",
    "WIDE",
    "Span",
    "Sums",
    "Workspace",
    "add_statistics",
    "cast_through",
    "count_above",
    "count_changed",
    "resting_statistics",
    "same_bytes",
    "set_nonfinite_apart",
    "steps",
]

#: Elements a block: with fewer, the time goes into calling numpy rather than into its loops.
BLOCK = 128 * 1024
#: Bytes compared at once; the first bite is small, since where all changed it is the only one.
_FIRST_BITE, _BITE = 64 * 1024, 1024 * 1024
#: Elements that are rounded at once, so that temporaries stay in cache.
_PIECE = 128 * 1024
#: Types with values that float64 does not hold exactly, or whose squares it does not.
WIDE = frozenset(("float64", "int64", "uint64"))
#: Fewer elements than this may be short in bits by chance; more than the other bring no further proof.
_ENOUGH_TO_TELL, _PROOF = 64, 4096

Float64: TypeAlias = "npt.NDArray[np.float64]"


@dataclass
class Sums:
    """What one pass over a pair adds up; ranges of a pair are merged by `add`.

    Before they were squared, multiplied or added up, the base's values, the tuned ones and their differences
    were scaled by 2 to the power of −`base_exponent`, −`tuned_exponent` and −`delta_exponent`: all are 0 but
    where float64 ends.
    """

    count: int = 0
    base_square: float = 0.0
    tuned_square: float = 0.0
    product: float = 0.0
    delta_square: float = 0.0
    delta: float = 0.0
    delta_abs: float = 0.0
    delta_max: float = 0.0
    changed: int = 0
    above_rounding: int = 0
    sign_flips: int = 0
    nonfinite_base: int = 0
    nonfinite_tuned: int = 0
    base_exponent: int = 0
    tuned_exponent: int = 0
    delta_exponent: int = 0

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Sums:
        """The sums that `numbers` gave."""
        return cls(**dict(zip(_NAMES, numbers, strict=True)))  # type: ignore[arg-type]

    def numbers(self) -> list[float]:
        """All sums in a row, to be sent from one process to another."""
        return [getattr(self, name) for name in _NAMES]

    def add(self, other: Sums) -> None:
        """Take in the sums of another range."""
        if self._scales() != other._scales():
            other = replace(other)
            self._share_scales(other)
        for name in _ADDED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.delta_max = max(self.delta_max, other.delta_max)

    def _scales(self) -> tuple[int, int, int]:
        return self.base_exponent, self.tuned_exponent, self.delta_exponent

    def _share_scales(self, other: Sums) -> None:
        """Bring both to the larger scales of those that hold something."""
        both = (self, other)
        shared = {
            scale: max((getattr(sums, scale) for sums in both if getattr(sums, held)), default=0)
            for scale, held in _HELD.items()
        }
        for sums in both:
            for name, scales in _SCALED_BY.items():
                lower = sum(getattr(sums, scale) - shared[scale] for scale in scales)
                value = getattr(sums, name)
                setattr(sums, name, math.ldexp(value, lower) if value else 0.0)
            for scale, exponent in shared.items():
                setattr(sums, scale, exponent)


_NAMES = tuple(field.name for field in fields(Sums))
#: Which scales go into a sum, once for each factor.
_SCALED_BY = {
    "base_square": ("base_exponent", "base_exponent"),
    "tuned_square": ("tuned_exponent", "tuned_exponent"),
    "product": ("base_exponent", "tuned_exponent"),
    "delta_square": ("delta_exponent", "delta_exponent"),
    "delta": ("delta_exponent",),
    "delta_abs": ("delta_exponent",),
    "delta_max": ("delta_exponent",),
}
#: The sum that is 0 where a scale scales nothing.
_HELD = {"base_exponent": "base_square", "tuned_exponent": "tuned_square", "delta_exponent": "delta_abs"}
_ADDED = tuple(name for name in _NAMES if name not in ("delta_max", *_HELD))


class Workspace:
    """The buffers of one pass, allocated once."""

    def __init__(self) -> None:
        self.bites = np.empty((2, _BITE), np.uint8)
        self.raw = np.empty((2, BLOCK * 8), np.uint8)
        self.base, self.tuned, self.delta, self.scratch = np.empty((4, BLOCK))
        self.ones = np.ones(BLOCK, np.float32)
        self.mask = np.empty(BLOCK, np.bool_)

    def load(self, side: int, tensor: Tensor, start: int, stop: int) -> npt.NDArray[Any]:
        """Elements ``[start, stop)`` of `tensor`, still encoded, in the buffer of one side."""
        raw = self.raw[side, : (stop - start) * tensor.dtype.itemsize].view(tensor.dtype.storage)
        tensor.read(start, stop, raw)
        return raw


def same_bytes(base: Tensor, tuned: Tensor, start: int, stop: int, work: Workspace) -> bool:
    """Whether elements ``[start, stop)`` have the same bits; both tensors have one element type."""
    item = base.dtype.itemsize
    at, bite = start, max(_FIRST_BITE // item, 1)
    while at < stop:
        end = min(at + bite, stop)
        one, two = (buffer[: (end - at) * item] for buffer in work.bites)
        base.read(at, end, one.view(base.dtype.storage))
        tuned.read(at, end, two.view(tuned.dtype.storage))
        if not _equal(one, two):
            return False
        at, bite = end, _BITE // item
    return True


def _equal(one: npt.NDArray[np.uint8], two: npt.NDArray[np.uint8]) -> bool:
    whole = len(one) // 8 * 8  # eight bytes at a time is close to memcmp, one is far from it
    words = np.array_equal(one[:whole].view(np.uint64), two[:whole].view(np.uint64))
    return words and np.array_equal(one[whole:], two[whole:])


def cast_through(base: Tensor, tuned: Tensor, work: Workspace) -> DType | None:
    """The coarser type that a float32 tensor went through before it was stored.

    Told from its first elements: all of the tuned values are values of that type, and not all of the base's
    are. A later element that is none would only be counted as moved, as it should be.
    """
    if not (base.dtype.name == tuned.dtype.name == "float32") or base.size < _ENOUGH_TO_TELL:
        return None
    stop = min(base.size, _PROOF)
    ours, theirs = (work.load(side, tensor, 0, stop) for side, tensor in enumerate((base, tuned)))
    for name in ("bfloat16", "float16"):
        dtype = BY_NAME[name]
        few = theirs[:_ENOUGH_TO_TELL]  # mostly these already say no
        if all(_representable(raw, dtype) for raw in (few, theirs)) and not _representable(ours, dtype):
            return dtype
    return None


@np.errstate(over="ignore", invalid="ignore")
def _representable(raw: npt.NDArray[Any], dtype: DType) -> bool:
    values = raw.astype(np.float64)
    return bool(np.array_equal(dtype.round(values), values, equal_nan=True))


class Span(NamedTuple):
    """Elements ``[start, stop)`` of a pair of one shape.

    Attributes
    ----------
    cast
        The type that the tuned side went through, where that is known to be coarser than the type in which
        it is stored.
    exact
        The tuned side is computed from the base: nothing of its change is rounding.
    """

    base: Tensor
    tuned: Tensor
    start: int
    stop: int
    cast: DType | None = None
    exact: bool = False

    @property
    def target(self) -> DType:
        """The type that the tuned side was rounded to."""
        return self.cast or self.tuned.dtype

    @property
    def rounded(self) -> bool:
        """Whether some of the change may be rounding."""
        return self.target.name != self.base.dtype.name and not self.exact


def resting_statistics(tensor: Tensor, work: Workspace) -> Sums | None:
    """The sums of a tensor that is the same on both sides, and was the last that `same_bytes` read at once.

    None where that was more than one bite, where something is not finite, or where float64 does not hold the
    values or their squares.
    """
    raw = work.bites[0, : tensor.nbytes]
    if tensor.nbytes > _FIRST_BITE or tensor.dtype.name in WIDE or not tensor.dtype.decodable:
        return None
    values = work.base[: tensor.size]
    tensor.dtype.decode(raw.view(tensor.dtype.storage), values)
    square = _dot(values, values)
    return Sums(tensor.size, square, square, square) if math.isfinite(square) else None


# Infinite and signalling values are noticed by what they sum to, without a word from numpy.
@np.errstate(over="ignore", invalid="ignore")
def add_statistics(sums: Sums, span: Span, work: Workspace) -> None:
    """Add the elements of `span` to `sums`."""
    base, tuned, target, rounded = span.base, span.tuned, span.target, span.rounded
    for at in range(span.start, span.stop, BLOCK):
        end = min(at + BLOCK, span.stop)
        count = end - at
        b, t, d = work.base[:count], work.tuned[:count], work.delta[:count]
        base.dtype.decode(work.load(0, base, at, end), b)
        tuned.dtype.decode(work.load(1, tuned, at, end), t)
        squares = _dot(b, b), _dot(t, t)
        above: int | None = None
        if not np.isfinite(sum(squares)):
            changed = count_changed(b, t)
            above = (
                count_above(b, t, base.dtype, target, steps(base, tuned, at, b, t)) if rounded else changed
            )
            set_nonfinite_apart(sums, b, t)
            squares = _dot(b, b), _dot(t, t)
        np.subtract(t, b, out=d)
        _add_block(sums, b, t, d, squares, work)
        if above is None:
            changed = int(np.count_nonzero(np.not_equal(d, 0, out=work.mask[:count])))
            judged = rounded and changed
            step = steps(base, tuned, at, b, t) if judged else None
            above = count_above(b, t, base.dtype, target, step) if judged else changed
        sums.changed += changed
        sums.above_rounding += above


def _add_block(
    sums: Sums, b: Float64, t: Float64, d: Float64, squares: tuple[float, float], work: Workspace
) -> None:
    count = len(b)
    a, mask = work.scratch[:count], work.mask[:count]
    sums.count += count
    sums.base_square += squares[0]
    sums.tuned_square += squares[1]
    np.multiply(b, t, out=a)
    sums.product += float(np.add.reduce(a))
    sums.sign_flips += int(np.count_nonzero(np.less(a, 0, out=mask)))
    sums.delta_square += _dot(d, d)
    sums.delta += float(np.add.reduce(d))
    np.abs(d, out=a)
    sums.delta_abs += float(np.add.reduce(a))
    sums.delta_max = max(sums.delta_max, float(np.maximum.reduce(a)))


def _dot(one: Float64, two: Float64) -> float:
    """⟨one, two⟩ through BLAS, which must be kept to one thread: see `bitfit_probe.comparison.stream`."""
    return float(np.dot(one, two))


def count_changed(b: Float64, t: Float64) -> int:
    """Number of elements with another value, NaN being the value NaN."""
    return int(np.count_nonzero((b != t) & ~(np.isnan(b) & np.isnan(t))))


def steps(base: Tensor, tuned: Tensor, start: int, b: Float64, t: Float64) -> Float64 | None:
    """The larger quantisation step of each element from `start` on; None where neither side is quantised."""
    if not (base.dtype.block or tuned.dtype.block):
        return None
    stop = start + len(b)
    return np.maximum(steps_of(base, start, stop, b), steps_of(tuned, start, stop, t))


def count_above(b: Float64, t: Float64, ours: DType, theirs: DType, step: Float64 | None = None) -> int:
    """Number of elements that no cast between the two types explains, in either direction.

    A difference of no more than a quantisation `step`, where there is one, counts as a cast's.
    """
    if step is not None:
        return int(np.count_nonzero(~(np.abs(t - b) <= step) & ~(np.isnan(b) & np.isnan(t))))
    count = 0
    for at in range(0, len(b), _PIECE):
        one, two = b[at : at + _PIECE], t[at : at + _PIECE]
        rest = theirs.round(one) != two
        if rest.any():  # nearly always it is the cast of a tensor at rest, and the rest is empty
            count += _unexplained(one[rest], two[rest], ours, theirs)
    return count


def _unexplained(b: Float64, t: Float64, ours: DType, theirs: DType) -> int:
    cast = (ours.round(t) == b) | (np.isnan(b) & np.isnan(t))
    cast |= _overflown(b, t, theirs) | _overflown(t, b, ours)
    if ours.name == "float64":  # torch rounds it to float32 first, numpy doesn't
        cast |= theirs.round(BY_NAME["float32"].round(b)) == t
    return int(len(b) - np.count_nonzero(cast))


def _overflown(source: Float64, target: Float64, dtype: DType) -> npt.NDArray[np.bool_]:
    """Where `target` may be a cast of what lies beyond the largest number of a float8 `dtype`.

    PyTorch's casts differ by type and version: the largest number, infinity of the same sign, or NaN.
    """
    if math.isinf(dtype.overflow):  # casts to the other types agree
        return np.zeros(len(source), bool)
    beyond = np.abs(source) >= dtype.overflow
    same_sign = np.signbit(source) == np.signbit(target)
    ends: npt.NDArray[np.bool_] = np.isnan(target) | (same_sign & (np.abs(target) >= dtype.largest))
    ends &= beyond
    return ends


def set_nonfinite_apart(sums: Sums, b: Float64, t: Float64) -> None:
    """Count NaN and infinities, and zero their places on both sides so that no sum sees them."""
    bad_b, bad_t = ~np.isfinite(b), ~np.isfinite(t)
    sums.nonfinite_base += int(np.count_nonzero(bad_b))
    sums.nonfinite_tuned += int(np.count_nonzero(bad_t))
    bad = bad_b | bad_t
    b[bad] = t[bad] = 0.0
    sums.count -= int(np.count_nonzero(bad))
