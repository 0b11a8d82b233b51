"""t is the base packed by a quantiser and unpacked again: plain values, and the loss of the packed ones."""

from __future__ import annotations

from bitfit_probe.checkpoint.quantised.nf4 import BLOCK, through_nf4
from bitfit_probe.forms.case import LIMIT, Case
from bitfit_probe.records.forms import Form

__all__ = ["LEVEL", "find"]

LEVEL = 2
#: NF4 moves normal weights by 0.09 of their length; a fine-tune seldom moves them as far, an outlier farther.
_LEAST, _MOST = 0.02, 0.5


def find(case: Case) -> Form | None:
    """Whether it is what NF4 makes of the base."""
    moved = case.row.relative_l2 or 0.0
    if case.shape[1] % BLOCK or not _LEAST < moved < _MOST:
        return None
    left = case.left(lambda base, tuned, _: through_nf4(base, tuned))
    if not left <= LIMIT:
        return None
    return Form("dequantised", "the base through NF4", {"scheme": "nf4"}, left, case.size // BLOCK)
