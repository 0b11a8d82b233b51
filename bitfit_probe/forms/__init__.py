"""The simplest explanation of every changed tensor, and the tensors that share one.

Forms are tried from the simplest on. Each looks first at figures that the comparison has, then at a few rows,
and reads all rows only where these agree with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bitfit_probe.align import Alignment, TensorPair, align
from bitfit_probe.checkpoint.storage.dtypes import BY_NAME
from bitfit_probe.forms.case import Case
from bitfit_probe.forms.grouping import grouped
from bitfit_probe.forms.registry import simplest
from bitfit_probe.forms.surroundings import Surroundings
from bitfit_probe.records.forms import Form, Forms

if TYPE_CHECKING:
    from bitfit_probe.pair import Pair
    from bitfit_probe.records import Comparison, TensorDelta

__all__ = ["forms_of", "forms_of_pair"]


def forms_of(alignment: Alignment, comparison: Comparison, others: Sequence[Alignment] = ()) -> Forms:
    """The form of every tensor, and groups of tensors that share one.

    Parameters
    ----------
    alignment, comparison
        A tuned checkpoint laid beside its base, and what was found of it.
    others
        Other checkpoints of the same base, of which this one may be an average.
    """
    around = Surroundings(alignment.pairs, comparison.tensors, others)
    both = zip(alignment.pairs, comparison.tensors, strict=True)
    rows = tuple(_form(pair, row, around) for pair, row in both)
    return Forms(rows, grouped(comparison.tensors, rows, by_part=bool(comparison.model_parts)))


def forms_of_pair(pair: Pair, others: Sequence[Pair] = ()) -> Forms:
    """The same of a pair, worked out once; `others` count where it is asked first."""

    def find() -> Forms:
        beside = [align(pair.base, other.tuned) for other in others if other is not pair]
        return forms_of(pair.alignment, pair.comparison, beside)

    return pair.once("forms", find)


def _form(pair: TensorPair, row: TensorDelta, around: Surroundings) -> Form | None:
    if row.identical is None:
        return None
    if row.identical or (not row.moved and not row.changed_fraction):
        return Form("at rest", "at rest", {}, 0.0, 0)
    if not row.moved:
        return _rounding(row)
    if row.nonfinite_tuned and not row.nonfinite_base:
        return _patch(row)
    if pair.computed:
        return Form("adapter", "altered as the adapter says", {}, 0.0, 0)
    if not _can_be_told(pair, row):
        return None
    return simplest(Case(pair, row, around))


def _rounding(row: TensorDelta) -> Form:
    sides = row.base_dtype, row.cast_through or row.tuned_dtype
    coarser = max(sides, key=lambda name: BY_NAME[name].roundoff or 0.0)
    return Form("rounding", f"rounded to {coarser}", {"type": coarser}, 0.0, 0)


def _patch(row: TensorDelta) -> Form | None:
    """NaN or infinities alone, where all other elements are the base's."""
    bad = row.nonfinite_tuned or 0
    if bad == row.parameters or round((row.changed_fraction or 1.0) * row.parameters) != bad:
        return None
    says = f"{bad:,} of {row.parameters:,} elements NaN or infinite, all others are the base's"
    return Form("not finite", says, {"count": bad}, 0.0, 2 * bad)


def _can_be_told(pair: TensorPair, row: TensorDelta) -> bool:
    """Whether its values are finite numbers that no quantiser moved."""
    types = pair.base.dtype, pair.tuned.dtype
    numbers = all(dtype.is_float and not dtype.block for dtype in types)
    finite = not row.nonfinite_base and not row.nonfinite_tuned and row.l2_delta is not None
    return numbers and finite and row.info.kind != "buffer"
