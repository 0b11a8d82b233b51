"""Rows or columns of the base in another order: heads, halves of a rotary head, a convolution's channels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.checkpoint import Tensor
from bitfit_probe.checkpoint.storage.rows import block_of, matrix_shape, some_rows
from bitfit_probe.forms.case import LIMIT, Case
from bitfit_probe.records.forms import Form, Value

if TYPE_CHECKING:
    from bitfit_probe.forms.case import Float64, Rows

__all__ = ["LEVEL", "find"]

LEVEL = 2
#: Two swapped rows of 1024 give a relative change of 0.06; less than this is no reordering.
_LEAST = 0.02
#: Numbers that stand for a row, and the squared distance, in squared lengths, up to which two are one row: of
#: different rows it is 2, give or take half of that; of a row and what training made of it below 0.1.
_NUMBERS, _SAME = 32, 0.3
#: At least this share of rows must be found in the base.
_FOUND = 0.75
#: What training on reordered rows leaves over of their distance to the base.
_TRAINED = 0.1
#: The same of input channels, which are alike in an image's first convolution. Training alone leaves about 1.
_CHANNELS_TRAINED = 0.25
#: Rows beyond which only those of the sample are looked for.
_MANY = 1 << 13
_ELEMENTS_A_BLOCK = 1 << 18


def find(case: Case) -> Form | None:
    """Which rows or columns stand elsewhere, where the tuned tensor is the base in another order."""
    if (case.row.relative_l2 or 0.0) < _LEAST or not (case.same_values or case.strange):
        return None
    if not case.is_matrix:
        return _vector(case) if case.same_values else None
    return _matrix(case, 0) or _channels(case) or _matrix(case, 1)


def _vector(case: Case) -> Form | None:
    """A vector that holds the same values exactly."""
    base, tuned = case.rounded(case.pair.base.values().reshape(-1)), case.pair.tuned.values().reshape(-1)
    one, other = np.argsort(base, kind="stable"), np.argsort(tuned, kind="stable")
    if not np.array_equal(base[one], tuned[other]):
        return None
    order = np.empty(len(base), np.int64)
    order[other] = one
    return _form("elements", order, np.arange(len(base)), 0.0)


def _matrix(case: Case, axis: int) -> Form | None:
    count = case.shape[axis]
    if axis and count > _MANY:
        return None
    ours, theirs = (_projected(side, axis) for side in (case.pair.base, case.pair.tuned))
    asked = np.arange(count) if count <= _MANY else case.sample.rows
    order, distance = _nearest(ours, theirs[asked])
    found = distance <= _SAME
    if found.mean() < _FOUND or not (found & (order != asked)).any():
        return None
    if axis:
        left = case.left(lambda base, _, __: base[:, order], _TRAINED)
    elif len(asked) == count:
        left = case.left(lambda _, __, rows: _in_order(case.pair.base, order[rows]), _TRAINED)
    else:
        left = case.left_on_sample(lambda _, __, ___: _in_order(case.pair.base, order))
    return _form("columns" if axis else "rows", order, asked, left) if left <= _TRAINED else None


def _channels(case: Case) -> Form | None:
    """A convolution's input channels: the second of its axes, one channel a window of columns."""
    window = math.prod(case.pair.base.shape[2:])
    count = case.shape[1] // window
    if window == 1 or not 1 < count <= _MANY:
        return None
    ours, theirs = (_projected(side, 1).reshape(count, -1) for side in (case.pair.base, case.pair.tuned))
    order, distance = _nearest(ours, theirs)
    asked = np.arange(count)
    if (distance <= _SAME).mean() < _FOUND or len(np.unique(order)) < count or (order == asked).all():
        return None
    columns = np.add.outer(order * window, np.arange(window)).reshape(-1)
    left = case.left(lambda base, _, __: base[:, columns], _CHANNELS_TRAINED)
    return _form("input channels", order, asked, left) if left <= _CHANNELS_TRAINED else None


def _projected(tensor: Tensor, axis: int) -> Float64:
    """Rows or columns on random directions, which keeps their distances (Johnson & Lindenstrauss 1984)."""
    rows, columns = matrix_shape(tensor)
    test = np.random.default_rng(1).standard_normal((rows if axis else columns, _NUMBERS))
    step, out = max(_ELEMENTS_A_BLOCK // columns, 1), np.zeros((columns if axis else rows, _NUMBERS))
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        block = block_of(tensor, start, stop)
        if axis:
            out += block.T @ test[start:stop]
        else:
            out[start:stop] = block @ test
    return out


def _nearest(ours: Float64, theirs: Float64) -> tuple[Rows, Float64]:
    """For each of the tuned rows the base's nearest one, and their squared distance in squared lengths."""
    best, distance = np.zeros(len(theirs), np.int64), np.zeros(len(theirs))
    squares, step = np.sum(ours**2, axis=1), max(_ELEMENTS_A_BLOCK * 8 // len(ours), 1)
    for start in range(0, len(theirs), step):
        some = theirs[start : start + step]
        far = squares - 2 * some @ ours.T
        at = far.argmin(axis=1)
        size = np.sum(some**2, axis=1)
        best[start : start + step] = at
        distance[start : start + step] = (far.min(axis=1) + size) / np.maximum(size, 1e-300)
    return best, distance


def _in_order(tensor: Tensor, rows: Rows) -> Float64:
    """Rows in any order."""
    unique, back = np.unique(rows, return_inverse=True)
    return some_rows(tensor, unique)[back]


def _form(name: str, order: Rows, asked: Rows, left: float) -> Form:
    trained = ", and trained" if left > LIMIT else ""
    by, moved = int(np.median(asked - order)), int(np.sum(order != asked))
    if by and np.mean(asked - order == by) > _FOUND:
        says = f"the base's {name} moved by {by:+,}{trained}"
        return Form("permuted", says, {"axis": name, "by": by}, left, 1)
    breaks = np.flatnonzero(np.diff(order) != np.diff(asked)) + 1
    block = int(np.gcd.reduce(np.concatenate([breaks, [len(order)]])))
    unit = f"{name} in blocks of {block}" if block > 1 else name
    says = f"the base's {unit} in another order ({moved:,} of {len(order):,} stand elsewhere){trained}"
    parameters: dict[str, Value] = {"axis": name, "block": block, "moved": moved, "of": len(order)}
    return Form("permuted", says, parameters, left, min(len(breaks) + 1, max(len(order) // 2, 1)))
