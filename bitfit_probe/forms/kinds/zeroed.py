"""t = 0 in places where b is not, trained in all others: rows that were cut, weights that were dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.forms.case import Case
from bitfit_probe.records.forms import Form

if TYPE_CHECKING:
    from bitfit_probe.forms.case import Float64, Mask

__all__ = ["LEVEL", "find"]

LEVEL = 3
#: No step of training ends at 0 exactly; a padding's row or a few values that a type can't hold do.
_LEAST = 0.05
#: A quantiser takes the smallest values to 0, up to 0.3 of normal ones at three bits: zeros that are more, or
#: whose base values are as large as any, are none of its.
_CUT, _AS_LARGE = 0.4, 0.5


def find(case: Case) -> Form | None:
    """Which share of the elements is 0 where the base's are not, and whether they are whole rows."""
    some = case.sample
    zeros = _zeros(case, some.base, some.tuned)
    if zeros.mean() < _LEAST / 2:
        return None
    size = np.abs(some.base)
    as_large = bool(np.median(size[zeros]) >= _AS_LARGE * np.median(size[size > 0]))
    if not as_large and zeros.mean() < _CUT:
        return None
    rows, there = np.zeros(case.shape[0]), np.zeros(case.shape[0])
    gone = total = 0.0
    for base, tuned, numbers in case.blocks():
        zeros = _zeros(case, base, tuned)
        rows[numbers], there[numbers] = zeros.sum(axis=1), np.count_nonzero(base, axis=1)
        gone += float(np.sum(base[zeros] ** 2))
        total += float(np.sum((tuned - base) ** 2))
    share = float(rows.sum()) / case.size
    if share < _LEAST:
        return None
    full = (rows == there) & (rows > 0)
    whole = case.is_matrix and rows[full].sum() >= rows.sum() / 2
    where = f"{full.sum():,} of {case.shape[0]:,} rows" if whole else f"{share:.2g} of the elements"
    says = f"{where} are 0, which they are not in the base, the others trained"
    parameters = {"share": share, "lines": "rows" if whole else "elements"}
    # Where the zeros are the smallest, a grid of very few values says more.
    cost = 1 if as_large else case.size // 4
    return Form("zeroed", says, parameters, max(1 - gone / total, 0.0), cost)


def _zeros(case: Case, base: Float64, tuned: Float64) -> Mask:
    """Where the tuned side is 0 and the base is not, even in the tuned side's type."""
    zeros: Mask = (tuned == 0) & (case.rounded(base) != 0)
    return zeros
