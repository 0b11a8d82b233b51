"""t = bᵀ, of a square matrix: a convention of storage that was mistaken for the other one."""

from __future__ import annotations

from dataclasses import replace

from bitfit_probe.checkpoint.storage.rows import some_rows
from bitfit_probe.forms.case import Case
from bitfit_probe.records.forms import Form

__all__ = ["LEVEL", "find"]

LEVEL = 2
#: A transposed matrix that was trained on still has far less than a tenth of its distance to the base left.
_LIMIT = 0.1


def find(case: Case) -> Form | None:
    """Whether the tuned matrix is the base's with rows and columns exchanged."""
    base = case.pair.base
    square = len(base.shape) == 2 and base.shape[0] == base.shape[1]
    if not square or not (case.strange or case.same_values) or case.coarse:
        return None
    turned = replace(base, strides=base.strides[::-1])
    left = case.left(lambda _, __, rows: some_rows(turned, rows), _LIMIT)
    return Form("transposed", "the base transposed", {}, left, 1) if left <= _LIMIT else None
