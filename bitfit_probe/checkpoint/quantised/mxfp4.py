"""MXFP4 as gpt-oss has it: blocks of 32 codes (E2M1), two a byte, and a power of two for each.

https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf, §5. Experts are stored
with the outputs along the rows; the model keeps them the other way round.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from bitfit_probe.checkpoint.quantised.grid import (
    E2M1,
    E8M0,
    Grid,
    by_rows,
    grid_tensor,
    powers_of_two,
)
from bitfit_probe.checkpoint.quantised.held import held
from bitfit_probe.checkpoint.quantised.interface import Packed, Tensors, part
from bitfit_probe.checkpoint.quantised.settings import Settings
from bitfit_probe.checkpoint.storage.dtypes import quantised
from bitfit_probe.checkpoint.storage.tensor import Tensor

__all__ = ["BLOCK", "ERROR", "MARKS", "read"]

MARKS = ("_blocks",)
BLOCK = 32
#: Between 4 and 6, the widest gap, lies half of it from a level; magnitudes up to 8 become 6.
ERROR = 2 / 6


def read(stem: str, mark: str, tensors: Tensors, settings: Settings) -> Packed | None:
    """The weight `stem`."""
    codes, scales = part(tensors, stem + mark, "uint8"), part(tensors, f"{stem}_scales", "uint8")
    if len(codes.shape) < 3 or codes.shape[-1] != BLOCK // 2 or codes.shape[:-1] != scales.shape:
        raise ValueError("blocks and scales don't fit")
    *leading, outputs, blocks = scales.shape
    rows, inputs = math.prod(scales.shape[:-1]), blocks * BLOCK
    dtype, names = quantised("mxfp4", BLOCK, 4, ERROR), (codes.name, scales.name)
    if len(leading) != 1:
        grid = Grid(inputs, E2M1, by_rows(codes, rows), powers_of_two(scales, rows))
        shape = (*leading, outputs, inputs)
        return Packed(grid_tensor(stem, dtype, shape, rows, grid, (codes, scales)), names)
    turned = _Turned(codes, scales, outputs, blocks)
    grid = Grid(outputs, E2M1 + (0.0,) * 240, turned.codes, turned.scales, width=1)
    shape = (*leading, inputs, outputs)
    tensor = grid_tensor(stem, dtype, shape, leading[0] * inputs, grid, (codes, scales))
    return Packed(tensor, names)


class _Turned:
    """Experts with the inputs along the rows."""

    def __init__(self, codes: Tensor, scales: Tensor, outputs: int, blocks: int) -> None:
        self._codes, self._scales, self._outputs, self._blocks = codes, scales, outputs, blocks

    def codes(self, start: int, stop: int) -> Any:
        """One code a byte."""
        return np.concatenate([self._codes_of(*where) for where in self._experts(start, stop)])

    def scales(self, start: int, stop: int) -> Any:
        """A scale an element."""
        return np.concatenate([self._scales_of(*where) for where in self._experts(start, stop)])

    def _experts(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Of rows ``[start, stop)`` those of each expert: its number, and from where to where."""
        inputs = self._blocks * BLOCK
        for expert in range(start // inputs, (stop - 1) // inputs + 1):
            yield expert, max(start - expert * inputs, 0), min(stop - expert * inputs, inputs)

    def _codes_of(self, expert: int, first: int, last: int) -> Any:
        size = self._outputs * self._blocks * BLOCK // 2
        whole = held(self._codes, expert * size, (expert + 1) * size).reshape(self._outputs, -1)
        low = first // 2
        pairs = np.ascontiguousarray(whole[:, low : -(-last // 2)].T)
        out = np.empty((2 * len(pairs), self._outputs), np.uint8)
        np.bitwise_and(pairs, 15, out=out[::2])
        np.right_shift(pairs, 4, out=out[1::2])
        return out[first - 2 * low : last - 2 * low]

    def _scales_of(self, expert: int, first: int, last: int) -> Any:
        size = self._outputs * self._blocks
        whole = held(self._scales, expert * size, (expert + 1) * size).reshape(self._outputs, -1)
        low = first // BLOCK
        numbers = E8M0[whole[:, low : -(-last // BLOCK)].T]
        return numbers[np.arange(first, last) // BLOCK - low]
