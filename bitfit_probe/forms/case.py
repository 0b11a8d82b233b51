"""One tensor whose form is asked for: the figures that are known of it, a few rows, all rows in blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import field
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from bitfit_probe.checkpoint.storage.dtypes import BY_NAME, DType
from bitfit_probe.checkpoint.storage.rows import block_of, matrix_shape, sampled, some_rows
from bitfit_probe.frozen import Frozen

if TYPE_CHECKING:
    import numpy.typing as npt

    from bitfit_probe.align import TensorPair
    from bitfit_probe.forms.surroundings import Surroundings
    from bitfit_probe.records import TensorDelta

    Float64: TypeAlias = npt.NDArray[np.float64]
    Rows: TypeAlias = npt.NDArray[np.int64]
    Mask: TypeAlias = npt.NDArray[np.bool_]
    #: Gives what rows of the tuned tensor should be, before they are rounded: of (base, tuned, row numbers).
    Predict: TypeAlias = Callable[[Float64, Float64, Rows], Float64]

__all__ = ["LIMIT", "Case", "Sample"]

#: What a form that holds may leave over of ‖Δ‖². A prediction is rounded as the file is, so only elements at
#: the edge between two numbers of the type are missed: below 0.5 % in bfloat16, where most are at an edge.
#: A form that does not hold leaves 1 − k/n for k numbers spent on n elements.
LIMIT = 0.01
_ELEMENTS_A_BLOCK = 1 << 18
#: Elements that tell a coarser type, as a rule.
_TELLING = 16
#: What arithmetic in float32 leaves over at most, and the share of elements that a coarse type takes to the
#: wrong side of an edge.
_EXACT, _MISSED = 1e-5, 0.1
#: Of fewer that changed, a cast may have left those that a tiny factor or shift explains as well.
_ENOUGH = 16
#: Numbers below this share of the type's own steps are no news: see `Case.coarse`.
_COARSE = 4


class Sample(Frozen):
    """Some rows of both sides; `whole` says that these are all."""

    rows: Rows
    base: Float64
    tuned: Float64
    whole: bool


class Case(Frozen, eq=False):
    """A pair that moved, as a matrix of (rows, columns): vectors have one column, kernels one row a filter.

    Attributes
    ----------
    pair, row
        The windows on both sides, and what the comparison found.
    around
        The other tensors of the comparison.
    """

    pair: TensorPair
    row: TensorDelta
    around: Surroundings = field(repr=False)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return matrix_shape(self.pair.base)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.row.parameters

    @property
    def is_matrix(self) -> bool:
        """Whether it has rows worth the name."""
        return min(self.shape) > 1

    @cached_property
    def stored(self) -> DType:
        """The type that tuned values went through, which may be coarser than the one that they stand in."""
        if self.row.cast_through:
            return BY_NAME[self.row.cast_through]
        values = self.sample.tuned.reshape(-1)
        if self.pair.tuned.dtype.name != "float32" or not _is_short(values[:_TELLING]):
            return self.pair.tuned.dtype
        for name in ("bfloat16", "float16"):
            if np.array_equal(BY_NAME[name].round(values), values):
                return BY_NAME[name]
        return self.pair.tuned.dtype

    @property
    def coarse(self) -> bool:
        """Whether the change is as small as the type's own steps, so that its figures are mostly rounding."""
        return (self.row.l2_delta or 0.0) <= _COARSE * (self.row.rounding_floor or 0.0)

    @property
    def enough(self) -> bool:
        """Whether so many elements moved by more than rounding that one figure for all is no chance."""
        return (self.row.above_rounding or 0.0) * self.size >= _ENOUGH

    @property
    def exact(self) -> float:
        """What one figure for all elements may leave over: what the type's rounding alone does.

        Norm scales may drift together: the last one of an rxnfp fine-tune lies 0.125 above the base's, give
        or take a little, and it is that little which tells training from arithmetic.
        """
        step = (self.stored.roundoff or 0.0) * (self.row.base_l2 or 0.0) / (self.row.l2_delta or 1.0)
        return min(_EXACT + _MISSED * step**2, LIMIT)

    @property
    def towards(self) -> float:
        """Cosine between Δ and the base, from the norms: ⟨Δ, b⟩ = (‖t‖² − ‖b‖² − ‖Δ‖²) / 2."""
        base, tuned, delta = self.row.base_l2, self.row.tuned_l2, self.row.l2_delta
        if not base or not delta or tuned is None:
            return 0.0
        return ((tuned - base) * (tuned + base) - delta**2) / (2 * base * delta)

    @property
    def same_values(self) -> bool:
        """Whether norms and sums are so equal that the tuned values may be the base's in another order.

        The sum of Δ over n elements of random sign is ‖Δ‖; of reordered ones it is what rounding leaves.
        """
        row = self.row
        if not row.base_l2 or row.tuned_l2 is None or row.mean_shift is None or not row.l2_delta:
            return False
        unit = max(self.stored.roundoff or 0.0, 1e-7)
        norms = abs(row.tuned_l2 - row.base_l2) <= 4 * unit * row.base_l2
        shift = abs(row.mean_shift) * self.size
        return norms and shift <= 1e-4 * row.l2_delta + 4 * unit * row.base_l2 and row.l2_delta > 0

    @property
    def strange(self) -> bool:
        """Whether it is much less like its base than its siblings are like theirs."""
        return self.around.strange(self.row)

    @cached_property
    def sample(self) -> Sample:
        """A few rows: all of a small tensor."""
        numbers, whole = sampled(*self.shape)
        return Sample(numbers, some_rows(self.pair.base, numbers), some_rows(self.pair.tuned, numbers), whole)

    def half_steps(self) -> Float64:
        """By how much rounding may have moved each of the sample's tuned values."""
        _, exponents = np.frexp(self.sample.tuned)
        half: Float64 = np.ldexp((self.stored.roundoff or 0.0) / 2 * (1 + 1e-6), exponents)
        return np.maximum(half, self.stored.subnormal / 2)

    def rounded(self, values: Float64) -> Float64:
        """`values` as the tuned side's file would hold them."""
        return self.stored.round(np.ascontiguousarray(values).reshape(-1)).reshape(values.shape)

    def at_rest(self, base: Float64, tuned: Float64) -> Mask:
        """Which elements are the base's, up to a cast in either direction."""
        same: Mask = tuned == base
        if self.pair.base.dtype.name != self.stored.name:
            same |= self.rounded(base) == tuned
            same |= self.pair.base.dtype.round(tuned.reshape(-1)).reshape(tuned.shape) == base
        return same

    def blocks(self) -> Iterator[tuple[Float64, Float64, Rows]]:
        """All rows of base and tuned with their numbers, a block at a time."""
        if self.sample.whole:
            yield self.sample.base, self.sample.tuned, self.sample.rows
            return
        rows, columns = self.shape
        step = max(_ELEMENTS_A_BLOCK // columns, 1)
        for start in range(0, rows, step):
            stop = min(start + step, rows)
            sides = (block_of(side, start, stop) for side in (self.pair.base, self.pair.tuned))
            base, tuned = sides
            yield base, tuned, np.arange(start, stop)

    def left_on_sample(self, predict: Predict) -> float:
        """The share of ‖Δ‖² that a prediction leaves over on the sample."""
        some = self.sample
        return self._share(*self._rest(predict, some.base, some.tuned, some.rows))

    def left(self, predict: Predict, limit: float = LIMIT) -> float:
        """The share of ‖Δ‖² that a prediction leaves over.

        All rows are read only where the sample leaves no more than twice the limit.
        """
        found = self.left_on_sample(predict)
        if self.sample.whole or not found <= 2 * limit:
            return found
        rest = total = 0.0
        for base, tuned, rows in self.blocks():
            here = self._rest(predict, base, tuned, rows)
            rest, total = rest + here[0], total + here[1]
        return self._share(rest, total)

    def _rest(self, predict: Predict, base: Float64, tuned: Float64, rows: Rows) -> tuple[float, float]:
        with np.errstate(all="ignore"):
            rest = tuned - self.rounded(predict(base, tuned, rows))
            delta = tuned - self.rounded(base)  # what a cast alone did needs no form
            return float(np.sum(rest * rest)), float(np.sum(delta * delta))

    @staticmethod
    def _share(rest: float, total: float) -> float:
        if rest == 0:
            return 0.0
        return rest / total if total and math.isfinite(rest / total) else math.inf


def _is_short(values: Float64) -> bool:
    """Whether float32 values have no more digits than float16 has, which is more than bfloat16 has."""
    return not np.any(values.astype("<f4").view("<u4") & _BEYOND_FLOAT16)


#: The last 13 of a float32's 23 digits.
_BEYOND_FLOAT16 = 0x1FFF
