"""t = 0 in some places, b in all others: weights that were pruned, masked, or zeroed by a filter."""

from __future__ import annotations

import numpy as np

from bitfit_probe.forms.case import LIMIT, Case
from bitfit_probe.records.forms import Form

__all__ = ["LEVEL", "find"]

LEVEL = 1
#: Where elements are 0 or the base's, Δ is −b or 0, so that ⟨Δ, b⟩ = −‖Δ‖²; a cast takes the two apart a bit.
_APART = 0.05
#: Of a tensor that is nearly all zeros something else is to be said.
_MOST = 0.95


def find(case: Case) -> Form | None:
    """Which share of the elements was set to zero, where all others are the base's."""
    share = case.row.above_rounding or 0.0
    if not case.row.base_l2 or not case.row.l2_delta or share > _MOST or not case.enough:
        return None
    length = case.row.l2_delta / case.row.base_l2
    if abs(case.towards + length) > _APART * length:
        return None
    left = case.left(lambda base, tuned, _: np.where(tuned == 0, 0.0, base))
    if not left <= LIMIT:
        return None
    says = f"the base with {share:.2g} of the elements set to 0"
    return Form("pruned", says, {"share": share}, left, 1)
