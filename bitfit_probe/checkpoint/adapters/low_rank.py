"""A matrix that changes by s·B·A (Hu et al. 2022), with DoRA's lengths."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np

from bitfit_probe.checkpoint.storage.computed import Float64, computed, rows_of
from bitfit_probe.checkpoint.storage.tensor import Tensor
from bitfit_probe.frozen import Frozen

__all__ = ["LowRank", "factors"]

_ROWS = 256


class LowRank(Frozen, eq=False):
    """A matrix that gets s·B·A added, and with DoRA a new length for each output.

    Attributes
    ----------
    name
        Name of the altered tensor in the tuned model.
    a, b
        The factors as stored: shapes (r, in …) and (out, r …).
    scale
        s: alpha / r, or alpha / √r for rsLoRA.
    magnitude
        DoRA's magnitudes, one an output, or None (Liu et al. 2024, eq. 5).
    embedding
        Whether it is an embedding, of which the rows are the inputs.
    """

    name: str
    a: Tensor
    b: Tensor
    scale: float
    magnitude: Tensor | None = None
    embedding: bool = False

    @property
    def rank(self) -> int:
        """The number of rows of A."""
        return self.a.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the matrix, outputs first."""
        return (self.b.shape[0], *self.a.shape[1:])

    @property
    def vectors(self) -> Mapping[str, Tensor]:
        """DoRA's magnitudes."""
        name = self.name.removesuffix("weight") + "lora_magnitude_vector"
        return {} if self.magnitude is None else {name: replace(self.magnitude, name=name)}

    @property
    def update(self) -> Tensor:
        """s·B·A, outputs first, computed by rows."""
        return computed(self.name, self.shape, self.rows)

    def tuned(self, base: Tensor, *, in_out: bool) -> Tensor:
        """What `base` becomes; see `Change`."""
        swapped = self.swapped(base.shape, in_out)

        def rows(start: int, stop: int) -> Float64:
            with np.errstate(all="ignore"):  # what runs over is a finding, not a warning
                weight = self._sum(base, swapped, start, stop)
                return (
                    weight if self.magnitude is None else weight * self._factors(base, swapped, start, stop)
                )

        return computed(self.name, base.shape, rows)

    def swapped(self, shape: tuple[int, ...], in_out: bool) -> bool:
        """Whether the matrix is stored with its inputs first."""
        flat = (*shape[:1], math.prod(shape[1:]))  # some methods store a convolution's factors as matrices
        plain, turned = self.shape in (shape, flat), shape == self.shape[::-1] and len(shape) == 2
        if not plain and not turned:
            raise ValueError(f"{self.name}: factors for {self.shape}, the base has {shape}")
        return turned and (self.embedding or in_out or not plain)

    def rows(self, start: int, stop: int, *, swapped: bool = False) -> Float64:
        """Rows of s·B·A, or of its transpose."""
        a, b = factors(self)
        delta: Float64 = a[:, start:stop].T @ b.T if swapped else b[start:stop] @ a
        delta *= self.scale
        return delta

    def _sum(self, base: Tensor, swapped: bool, start: int, stop: int) -> Float64:
        delta = self.rows(start, stop, swapped=swapped)
        delta += rows_of(base, start, stop)
        return delta

    def _factors(self, base: Tensor, swapped: bool, start: int, stop: int) -> Float64:
        """Magnitude over length, for each row or for each column."""
        assert self.magnitude is not None
        magnitude = self.magnitude.values().reshape(-1)
        if swapped:
            return (magnitude / _column_norms(self, base))[np.newaxis]
        norms = np.linalg.norm(self._sum(base, swapped, start, stop), axis=1)
        scale: Float64 = magnitude[start:stop] / norms
        return scale[:, np.newaxis]


@lru_cache(maxsize=2)
def factors(change: LowRank) -> tuple[Float64, Float64]:
    """A and B in float64 as matrices, shapes (r, in) and (out, r); kept while rows of one tensor are read."""
    return change.a.values().reshape(change.rank, -1), change.b.values().reshape(-1, change.rank)


@lru_cache(maxsize=2)
def _column_norms(change: LowRank, base: Tensor) -> Float64:
    total = np.zeros(base.shape[1])
    for start in range(0, base.shape[0], _ROWS):
        block = change._sum(base, True, start, min(start + _ROWS, base.shape[0]))
        total += np.sum(block * block, axis=0)
    norms: Float64 = np.sqrt(total)
    return norms
