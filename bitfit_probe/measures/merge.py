"""Weights beside an adapter: what became of each tensor that the adapter changes, and of all others.

The adapter says what its merge is (see `bitfit_probe.checkpoint.adapters`), so each tensor is judged by
itself, on a few rows: is the update in it, how often, and is anything else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from bitfit_probe.align import TensorPair, align
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.checkpoint.interface import Adapter
from bitfit_probe.checkpoint.quantised.nf4 import BLOCK, through_nf4
from bitfit_probe.checkpoint.storage.computed import QuantisedStorage, packed_parts
from bitfit_probe.checkpoint.storage.rows import matrix_shape, sampled, some_rows
from bitfit_probe.checkpoint.storage.tensor import Tensor
from bitfit_probe.pair import Pair
from bitfit_probe.records import TensorDelta

if TYPE_CHECKING:
    from bitfit_probe.checkpoint.storage.rows import Float64, Rows

__all__ = ["Fate", "Merge", "MergedTensor", "merge_of"]

#: What a tensor is, seen from the update that the adapter promises it.
Fate = Literal["merged", "at rest", "scaled", "dequantised", "onto plain", "other"]

#: An update below this share of the base says nothing about a merge.
_NO_UPDATE = 1e-12
#: This share of elements that are the exact sum rounded is a merge, whatever rounding took.
_ROUNDED = 0.9
#: What a merge may leave over of the update's length, beside rounding: peft multiplies in the weights' type.
_LEFT = 0.05
#: Roundings of a merge: of the product, of the sum, and of the cast to the file's type.
_ROUNDINGS = 3.0
#: NF4 moves normal weights by 0.09 of their length; so much of that may be left over by rounding to a type.
_NF4_LEAST, _NF4_LEFT = 0.02, 0.02
#: Standard errors of α* beside a packed base that count as none, and the largest that still tells 0 from 1.
_SPREADS, _HIDDEN = 4.0, 0.1
#: Values of a row whose number is counted.
_COUNTED = 8


@dataclass(frozen=True)
class MergedTensor:
    """How much of an adapter is in one tensor, over a sample of its rows.

    With Δ = t − b, U the adapter's update: of LoRA s·B·A, of others what they make of b, less b.

    Attributes
    ----------
    row
        What the comparison found of it.
    fate
        ``merged`` once, exactly or up to rounding; ``at rest``; ``scaled`` by `alpha`; ``dequantised``,
        merged once onto what NF4 makes of the base; ``onto plain``, merged once onto weights that the base is
        the quantised form of; or ``other``.
    alpha
        α* = ⟨Δ, U⟩ / ‖U‖²: 1 merged once, 2 twice, 0 not at all.
    lost
        ‖Δ − U‖ / ‖U‖.
    rounded
        Share of elements that are b + U rounded to the stored type.
    moved
        Share of elements that are not the base's.
    levels, columns
        The most different values in a row, of how many.
    """

    row: TensorDelta
    fate: Fate
    alpha: float
    lost: float
    rounded: float
    moved: float
    levels: int
    columns: int

    @property
    def name(self) -> str:
        """The base's name, with the part of a fused tensor."""
        return f"{self.row.name}[{self.row.part}]" if self.row.part else self.row.name


@dataclass(frozen=True)
class Merge:
    """Weights beside an adapter.

    Attributes
    ----------
    targeted
        Every tensor of the base that the adapter changes and these weights have.
    untargeted
        Rows that the adapter leaves alone, head and buffers aside.
    """

    targeted: tuple[MergedTensor, ...]
    untargeted: tuple[TensorDelta, ...]

    def of(self, *fates: Fate) -> list[MergedTensor]:
        """The targeted tensors that met with one of these fates."""
        return [item for item in self.targeted if item.fate in fates]


def merge_of(pair: Pair, adapter: Path) -> Merge:
    """Judge every tensor of merged weights by the adapter beside them, once for a pair.

    Raises
    ------
    BitfitProbeError
        The adapter can't be read, or does not fit the base.
    """
    return pair.once(("merge", adapter), lambda: _merge(pair, adapter))


def _merge(pair: Pair, path: Path) -> Merge:
    beside = open_checkpoint(path)
    assert beside.adapter is not None
    wanted = {_key(match): match for match in align(pair.base, beside).pairs if match.in_file}
    targeted, untargeted = [], []
    for match, row in zip(pair.alignment.pairs, pair.comparison.tensors, strict=True):
        if _key(match) in wanted:
            found = _judged(wanted[_key(match)], match, row, beside.adapter)
            targeted += [] if found is None else [found]
        elif row.info.kind not in ("head", "buffer"):
            untargeted.append(row)
    return Merge(tuple(targeted), tuple(untargeted))


def _key(match: TensorPair) -> tuple[str, str | None]:
    return match.base.name, match.part


def _judged(
    wanted: TensorPair, merged: TensorPair, row: TensorDelta, adapter: Adapter
) -> MergedTensor | None:
    if wanted.base.shape != merged.base.shape or row.identical is None:
        return None
    rows = _rows(wanted, adapter)
    base, exact, tuned = (some_rows(side, rows) for side in (wanted.base, wanted.tuned, merged.tuned))
    update, delta = exact - base, tuned - base
    size, length = float(np.sum(update * update)), float(np.sum(base * base))
    if not math.isfinite(size) or size <= _NO_UPDATE**2 * length:
        return None
    alpha = float(np.sum(delta * update)) / size
    lost, left = (math.sqrt(float(np.sum((delta - by * update) ** 2)) / size) for by in (1.0, alpha))
    equal = merged.tuned.dtype.round(exact.reshape(-1)) == tuned.reshape(-1)
    rounding = (merged.tuned.dtype.roundoff or 0.0) * math.sqrt(float(np.sum(tuned * tuned)) / size)
    rounded = float(np.mean(equal))
    fate: Fate | None = _fate(row, alpha, (lost, left), rounded, _LEFT + _ROUNDINGS * rounding)
    if packed_parts(wanted.base) and not packed_parts(merged.tuned):
        steps = some_rows(_steps(wanted.base), rows)
        if rounded < _ROUNDED <= np.mean(np.abs(delta - update) <= steps):
            fate = _fate_within_steps(alpha, lost / math.sqrt(delta.size))
    elif _on_nf4(base, tuned - update):
        fate = "dequantised"
    return fate and MergedTensor(
        row,
        fate,
        alpha,
        lost,
        rounded,
        moved=float(np.mean(delta != 0)),
        levels=max(len(np.unique(line)) for line in tuned[:_COUNTED]),
        columns=tuned.shape[1],
    )


def _fate_within_steps(alpha: float, spread: float) -> Fate | None:
    """Whether an update is in weights within a quantiser's steps of the base; None where these hide it.

    α* is 1 with the update and 0 without, give or take `spread`: what the quantiser lost points elsewhere.
    """
    if spread > _HIDDEN:
        return None
    if abs(alpha) <= _SPREADS * spread:
        return "at rest"
    return "onto plain" if abs(alpha - 1) <= _SPREADS * spread + _LEFT else "other"


def _steps(packed: Tensor) -> Tensor:
    """The quantiser's step of each element."""
    assert isinstance(packed.storage, QuantisedStorage)
    return replace(packed, storage=packed.storage.steps)


def _on_nf4(base: Float64, before: Float64) -> bool:
    """Whether the update was added to what NF4 makes of the base, and not to the base."""
    if base.shape[1] % BLOCK or not np.isfinite(before).all():
        return False
    lost = float(np.sum((before - base) ** 2))
    left = float(np.sum((before - through_nf4(base, before)) ** 2))
    return lost > _NF4_LEAST**2 * float(np.sum(base * base)) and left <= _NF4_LEFT * lost


def _rows(wanted: TensorPair, adapter: Adapter) -> Rows:
    """A few rows; of a table those that the adapter replaces."""
    change = adapter.altered.get(wanted.tuned.name)
    replaced: Sequence[int] = getattr(change, "indices", ())
    return np.unique(np.array(replaced, np.int64)) if replaced else sampled(*matrix_shape(wanted.base))[0]


def _fate(
    row: TensorDelta, alpha: float, lost_and_left: tuple[float, float], rounded: float, limit: float
) -> Fate:
    lost, left = lost_and_left
    if rounded >= _ROUNDED:
        return "merged"
    if not row.moved:
        return "at rest"
    if lost <= limit:
        return "merged"
    return "scaled" if left <= limit * max(abs(alpha), 1.0) and abs(alpha) > limit else "other"
