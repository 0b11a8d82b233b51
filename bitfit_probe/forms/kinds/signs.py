"""|t| = |b|, with other signs in places: a convention of sign, or flipped bits."""

from __future__ import annotations

import numpy as np

from bitfit_probe.forms.case import LIMIT, Case
from bitfit_probe.records.forms import Form

__all__ = ["LEVEL", "find"]

LEVEL = 3


def find(case: Case) -> Form | None:
    """How many signs turned, where nothing else did."""
    flips, row = case.row.sign_flips or 0, case.row
    # Only what turned moved, so that both counts are one; zeros have no sign to turn.
    if not flips or flips < 0.99 * (row.above_rounding or 0.0) * case.size:
        return None
    left = case.left(lambda base, tuned, _: np.copysign(base, tuned))
    if not left <= LIMIT:
        return None
    says = f"the base with the sign of {flips:,} of {case.size:,} elements turned"
    return Form("signs", says, {"count": flips, "of": case.size}, left, flips)
