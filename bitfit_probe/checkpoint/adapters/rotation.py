"""A matrix whose rows, over the inputs, are each turned in the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from bitfit_probe.checkpoint.adapters.interface import not_read
from bitfit_probe.checkpoint.storage.computed import Float64, computed, rows_of
from bitfit_probe.checkpoint.storage.tensor import Tensor
from bitfit_probe.frozen import Frozen

__all__ = ["Rotation"]


class Rotation(Frozen, eq=False):
    """W·R, row by row of the outputs.

    Attributes
    ----------
    name
        Name of the altered tensor.
    stored
        What the file has of R.
    rotate
        Gives W·R of some rows of W, shape (rows, inputs).
    path
        The adapter's file.
    """

    name: str
    stored: Tensor
    rotate: Callable[[Float64], Float64]
    path: Path

    @property
    def shape(self) -> tuple[int, ...]:
        """What is stored: of the matrix no size is known."""
        return self.stored.shape

    @property
    def vectors(self) -> Mapping[str, Tensor]:
        """What is stored."""
        return {self.name: replace(self.stored, name=self.name)}

    def tuned(self, base: Tensor, *, in_out: bool) -> Tensor:
        """What `base` becomes; see `Change`.

        Raises
        ------
        UnsupportedError
            The outputs stand along the columns, as in ``Conv1D``.
        """
        if in_out:
            raise not_read("a rotation of a matrix that stores its inputs first", self.path)

        def rows(start: int, stop: int) -> Float64:
            with np.errstate(all="ignore"):
                return self.rotate(rows_of(base, start, stop))

        return computed(self.name, base.shape, rows)
