"""Adapters, alone or beside merged weights: what they should have changed, and how much of it is there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.align import TensorPair, align
from bitfit_probe.checkpoint import Tensor, open_checkpoint
from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.pair import Pair
from bitfit_probe.rules.adapter_files import adapter_beside
from bitfit_probe.rules.engine.rule import CannotTell

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Strength", "strengths"]

#: Matrices, and rows of each, that are read to judge a merge: a merge goes wrong everywhere or nowhere.
_MATRICES, _ROWS = 12, 128
#: An adapter whose whole update is below this share of the base says nothing about a merge.
_NO_UPDATE = 1e-12


@dataclass(frozen=True)
class Strength:
    """How much of an adapter is in one merged matrix, over a sample of its rows.

    Attributes
    ----------
    name
        The base's name of the matrix.
    alpha
        α* = ⟨Δ, s·BA⟩ / ‖s·BA‖²: 1 merged once, 2 twice, 0 not at all.
    lost
        ‖Δ − s·BA‖ / ‖s·BA‖.
    rounded
        Share of elements that are b + s·BA rounded to the stored type.
    moved
        Share of elements that are not the base's.
    levels
        The most different values in a row.
    """

    name: str
    alpha: float
    lost: float
    rounded: float
    moved: float
    levels: int
    columns: int


def strengths(pair: Pair) -> tuple[Strength, ...]:
    """How much of the adapter beside the weights is in them, a matrix at a time; for rules that need one.

    Raises
    ------
    CannotTell
        The adapter can't be read, or it changes no matrix of this base.
    """
    return pair.once("strengths", lambda: tuple(_strengths(pair)))


def _strengths(pair: Pair) -> Iterator[Strength]:
    path = adapter_beside(pair.tuned)
    assert path is not None
    try:
        wanted = align(pair.base, open_checkpoint(path)).pairs
    except BitfitProbeError as error:
        raise CannotTell(f"the adapter beside the weights can't be read: {error.what}") from error
    merged = {match.base.name: match for match in pair.alignment.pairs if match.part is None}
    both = [
        (match, merged[match.base.name])
        for match in wanted
        if match.computed and len(match.base.shape) == 2 and match.base.name in merged
    ]
    step = max(len(both) // _MATRICES, 1)
    found = [item for match in both[::step] if (item := _strength(*match)) is not None]
    if not found:
        raise CannotTell("the adapter beside the weights changes no matrix of this base")
    yield from found


def _strength(wanted: TensorPair, merged: TensorPair) -> Strength | None:
    base, exact, tuned = (_rows(side) for side in (wanted.base, wanted.tuned, merged.tuned))
    update, delta = exact - base, tuned - base
    size = float(np.sum(update * update))
    if not math.isfinite(size) or size <= _NO_UPDATE**2 * float(np.sum(base * base)):
        return None
    rest = delta - update
    return Strength(
        name=wanted.base.name,
        alpha=float(np.sum(delta * update)) / size,
        lost=math.sqrt(float(np.sum(rest * rest)) / size),
        rounded=float(np.mean(merged.tuned.dtype.round(exact.reshape(-1)) == tuned.reshape(-1))),
        moved=float(np.mean(delta != 0)),
        levels=max(len(np.unique(row)) for row in tuned[:8]),
        columns=tuned.shape[1],
    )


def _rows(tensor: Tensor) -> npt.NDArray[np.float64]:
    return tensor.rows(min(tensor.shape[0], _ROWS)).values()
