"""Adapters, alone or beside merged weights: what they should have changed, and how much of it is there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.align import Pair, align
from bitfit_probe.checkpoint import Checkpoint, Tensor, open_checkpoint
from bitfit_probe.checkpoint.adapters import Adapter
from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.rules.interface import NO_ADAPTER, CannotTell, Case

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["NO_MERGE", "Strength", "adapter_of", "claims_merge", "strengths"]

NO_MERGE = "no adapter lies beside merged weights"
_FILES = ("adapter_model.safetensors", "adapter_model.bin")
#: Matrices, and rows of each, that are read to judge a merge: a merge goes wrong everywhere or nowhere.
_MATRICES, _ROWS = 12, 128
#: An adapter whose whole update is below this share of the base says nothing about a merge.
_NO_UPDATE = 1e-12


def adapter_of(case: Case) -> Adapter:
    """The adapter that the tuned side is.

    Raises
    ------
    CannotTell
        It is none.
    """
    if case.tuned.adapter is None:
        raise CannotTell(NO_ADAPTER)
    return case.tuned.adapter


def claims_merge(tuned: Checkpoint) -> Path | None:
    """The adapter file beside merged weights, where there is one."""
    if tuned.adapter is not None or tuned.path.is_file():
        return None
    return next((path for name in _FILES if (path := tuned.folder / name).is_file()), None)


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


def strengths(case: Case) -> tuple[Strength, ...]:
    """How much of the adapter beside the weights is in them, a matrix at a time.

    Raises
    ------
    CannotTell
        No adapter lies beside the weights, it can't be read, or it changes no matrix of this base.
    """
    if "strengths" not in case.cache:
        try:
            case.cache["strengths"] = tuple(_strengths(case))
        except CannotTell as reason:
            case.cache["strengths"] = reason
    found: tuple[Strength, ...] | CannotTell = case.cache["strengths"]
    if isinstance(found, CannotTell):
        raise found
    return found


def _strengths(case: Case) -> Iterator[Strength]:
    path = claims_merge(case.tuned)
    if path is None:
        raise CannotTell(NO_MERGE)
    try:
        wanted = align(case.base, open_checkpoint(path)).pairs
    except BitfitProbeError as error:
        raise CannotTell(f"the adapter beside the weights can't be read: {error.what}") from error
    merged = {pair.base.name: pair for pair in case.alignment.pairs if pair.part is None}
    both = [
        (pair, merged[pair.base.name])
        for pair in wanted
        if pair.computed and len(pair.base.shape) == 2 and pair.base.name in merged
    ]
    step = max(len(both) // _MATRICES, 1)
    found = [item for pair in both[::step] if (item := _strength(*pair)) is not None]
    if not found:
        raise CannotTell("the adapter beside the weights changes no matrix of this base")
    yield from found


def _strength(wanted: Pair, merged: Pair) -> Strength | None:
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
