"""t = min(max(b, low), high): what lies outside a range was cut to its ends."""

from __future__ import annotations

import math

import numpy as np

from bitfit_probe.forms.case import LIMIT, Case
from bitfit_probe.records.forms import Form

__all__ = ["LEVEL", "find"]

LEVEL = 1
#: Where nearly all elements are cut, the signs are all that is left of the base.
_MOST = 0.9
#: Every cut element is at least as large as those left, so −⟨Δ, b⟩ ≥ ‖Δ‖₁·‖t‖/√n; less rounding.
_AT_LEAST = 0.8


def find(case: Case) -> Form | None:
    """The range, where the base's values were cut to it."""
    if not _may_be(case):
        return None
    low, high = math.inf, -math.inf
    for _, tuned, _ in case.blocks():
        low, high = min(low, float(tuned.min())), max(high, float(tuned.max()))
    left = case.left(lambda base, _, __: np.clip(base, low, high))
    if not left <= LIMIT:
        return None
    share = case.row.above_rounding or 0.0
    says = f"cut to {low:.3g} … {high:.3g}, where {share:.2g} of the elements had lain outside"
    return Form("clipped", says, {"low": low, "high": high, "share": share}, left, 2)


def _may_be(case: Case) -> bool:
    row = case.row
    if not row.l1_delta or not row.l2_delta or not row.base_l2 or row.tuned_l2 is None:
        return False
    if (row.above_rounding or 0.0) > _MOST or row.tuned_l2 > row.base_l2:
        return False
    inwards = -case.towards * row.l2_delta * row.base_l2
    return case.coarse or inwards >= _AT_LEAST * row.l1_delta * row.tuned_l2 / math.sqrt(case.size)
