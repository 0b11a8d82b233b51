"""t = α·b."""

from __future__ import annotations

import numpy as np

from bitfit_probe.forms.case import Case
from bitfit_probe.records.forms import Form

__all__ = ["LEVEL", "find"]

LEVEL = 1
#: |cosine| between Δ and b of a factor is 1, and 1/√n of a trained change. Below a relative change of 1e-5
#: the sums that it comes from have lost it.
_ALONG, _LOST = 0.7, 1e-5


def find(case: Case) -> Form | None:
    """The factor, where the tuned tensor is a multiple of the base and nothing else."""
    row = case.row
    if not row.base_l2 or not row.tuned_l2 or row.cosine is None or not case.enough:
        return None
    lost = (row.relative_l2 or 0.0) < _LOST
    if abs(case.towards) < _ALONG and not case.coarse and not lost:
        return None
    alpha = _factor(case)
    left = case.left(lambda base, _, __: alpha * base)
    if not left <= case.exact or alpha == 1:
        return None
    says = "the base negated" if abs(alpha + 1) < 1e-6 else f"{_shown(alpha)} × the base, nothing else"
    return Form("constant factor", says, {"factor": alpha}, left, 1)


def _factor(case: Case) -> float:
    """The factor that all sampled elements allow: each leaves those that round to its tuned value."""
    some, row = case.sample, case.row
    square = float(np.sum(some.base * some.base))
    slope = float(np.sum(some.tuned * some.base)) / square if square else row.cosine or 0.0
    there = some.base != 0
    centre, half = some.tuned[there] / some.base[there], case.half_steps()[there] / np.abs(some.base[there])
    low, high = np.max(centre - half, initial=-np.inf), np.min(centre + half, initial=np.inf)
    return float(np.clip(slope, low, high)) if low <= high else slope


def _shown(alpha: float) -> str:
    """Three digits of the factor, or of what is missing to 1."""
    digits = max(3, int(np.ceil(-np.log10(abs(alpha - 1)))) + 1) if abs(alpha - 1) < 0.1 else 3
    return f"{alpha:.{min(digits, 9)}f}" if abs(alpha) < 10 else f"{alpha:.4g}"
