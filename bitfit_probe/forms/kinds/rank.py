"""Δ = U·V of a low rank: a merged LoRA."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.checkpoint.storage.rows import block_of
from bitfit_probe.comparison.lowrank import low_rank
from bitfit_probe.forms.case import Case
from bitfit_probe.forms.surroundings import Surroundings
from bitfit_probe.records.forms import Form

if TYPE_CHECKING:
    from bitfit_probe.forms.case import Float64

__all__ = ["LEVEL", "find"]

LEVEL = 3
#: A sample of k rows shows a rank up to about this share of k.
_SHOWN = 0.75
#: Nearly all of Δ must stand above what rounding adds; a change that is mostly rounding shows no rank.
_MOST = 0.95

#: Where rounding is this small a few rows of Δ span all of them, and what they leave over is no more than
#: this; in coarser types, or where these rows are not enough, a sketch of all rows tells.
_FINE, _SPANNED = 1e-6, 1e-4
#: Rows of the larger sample for ranks beyond those, and matrices that are tried with it: a run that merged
#: one LoRA of a high rank merged them everywhere.
_MORE_ROWS, _TRIED = 128, 3


def find(case: Case) -> Form | None:
    """The rank, where the change of a matrix has one far below its sides."""
    if not _is_plain(case):
        return None
    some = case.sample
    shown = _shown(case, some.tuned - some.base)
    if shown is not None and (case.stored.roundoff or 1.0) < _FINE:
        left = _left(case, some.tuned - some.base, shown)
        if left <= _SPANNED:
            return _form(case, shown, left)
    if shown is None and min(case.shape) > _MORE_ROWS:
        wide = case.around.once("ranks", lambda: any(map(_shown_by_more, _tried(case.around))))
        shown = _shown_by_more(case) if wide else None
    found = None if shown is None else low_rank(case.pair, case.stored, most=shown)
    return None if found is None else _form(case, found.rank, found.left)


def _form(case: Case, rank: int, left: float) -> Form:
    says = f"the base + a matrix of rank {rank}"
    return Form("rank", says, {"rank": rank}, left, rank * sum(case.shape))


def _left(case: Case, delta: Float64, rank: int) -> float:
    """What the directions of some rows of Δ leave over of all rows, in one pass over them."""
    with np.errstate(all="ignore"):
        span = np.linalg.svd(delta, full_matrices=False)[2][:rank]
    total = along = 0.0
    for base, tuned, _ in case.blocks():
        block = tuned - base
        there = block @ span.T
        total, along = total + float(np.vdot(block, block)), along + float(np.vdot(there, there))
    return max(1 - along / total, 0.0) if total else 1.0


def _is_plain(case: Case) -> bool:
    """Whether it is one matrix: rows of experts below each other have no rank together."""
    shape = case.pair.base.shape
    return len(shape) > 1 and case.is_matrix and case.shape[0] == shape[0]


def _tried(around: Surroundings) -> list[Case]:
    """Some matrices that moved, from everywhere."""
    both = zip(around.pairs, around.rows, strict=True)
    moved = [
        case
        for pair, row in both
        if row.moved
        and row.info.kind == "weight"
        and row.l2_delta
        and _is_plain(case := Case(pair, row, around))
    ]
    return moved[:: max(len(moved) // _TRIED, 1)][:_TRIED]


def _shown_by_more(case: Case) -> int | None:
    start = (case.shape[0] - _MORE_ROWS) // 2
    if start < 0:
        return None
    base, tuned = (block_of(side, start, start + _MORE_ROWS) for side in (case.pair.base, case.pair.tuned))
    return _shown(case, tuned - base)


def _shown(case: Case, delta: Float64) -> int | None:
    """The rank that some rows of Δ show; None where it is that of any rows."""
    if not np.isfinite(delta).all():
        return None
    rows, columns = delta.shape
    energies = np.linalg.eigvalsh(delta @ delta.T if rows <= columns else delta.T @ delta)[::-1]
    total = float(energies.sum())
    # Largest eigenvalue of noise of variance v in so many rows and columns (Marchenko & Pastur 1967).
    mean_square = (case.row.tuned_l2 or 0.0) ** 2 / case.size
    noise = (case.stored.roundoff or 0.0) ** 2 / 3 * mean_square * (np.sqrt(rows) + np.sqrt(columns)) ** 2
    above = energies > max(noise, 1e-12 * total)
    rank, kept = int(above.sum()), float(energies[above].sum())
    low = 0 < rank <= _SHOWN * min(rows, columns) and kept >= _MOST * total
    return rank if low else None
