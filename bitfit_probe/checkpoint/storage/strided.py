"""Windows whose elements do not stand in C order, read through positioned reads only.

A memory map would be shorter to write, but a file that is cut short meanwhile would end the process.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bitfit_probe.frozen import Frozen

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Window"]

Array: TypeAlias = "npt.NDArray[Any]"
#: Fills bytes from a byte offset.
ReadInto: TypeAlias = "Callable[[npt.NDArray[np.uint8], int], None]"

#: A piece is read with its gaps while they cost less than more reads would.
_SMALL_BYTES = 1 << 16
_MOST_GAPS = 4


class Window(Frozen):
    """Elements at ``offset + Σ index · stride``, all in elements."""

    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def narrow(self, axis: int, start: int, stop: int) -> Window:
        """The window on ``[start, stop)`` along `axis`."""
        shape = (*self.shape[:axis], stop - start, *self.shape[axis + 1 :])
        return Window(self.offset + start * self.strides[axis], shape, self.strides)

    def row(self, index: int) -> Window:
        """The window on one index of the first axis, without that axis."""
        return Window(self.offset + index * self.strides[0], self.shape[1:], self.strides[1:])

    def read(self, read_into: ReadInto, start: int, stop: int, out: Array) -> None:
        """Fill `out`, shape (stop - start,) and contiguous, with elements ``[start, stop)`` in C order."""
        length = math.prod(self.shape[1:])
        first, last = -(-start // length), stop // length
        if first > last:
            self.row(last).read(read_into, start - last * length, stop - last * length, out)
            return
        head, tail = first * length - start, stop - last * length
        if head:
            self.row(first - 1).read(read_into, length - head, length, out[:head])
        if first < last:
            self.narrow(0, first, last)._fill(
                read_into, out[head : len(out) - tail].reshape(last - first, *self.shape[1:])
            )
        if tail:
            self.row(last).read(read_into, 0, tail, out[len(out) - tail :])

    def _fill(self, read_into: ReadInto, out: Array) -> None:
        item = out.dtype.itemsize
        extents = [(size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True)]
        reach = sum(extents) + 1
        if reach * item <= _SMALL_BYTES or reach <= _MOST_GAPS * out.size:
            raw = np.empty(reach, out.dtype)
            read_into(raw.view(np.uint8), self.offset * item)
            np.copyto(
                out,
                np.lib.stride_tricks.as_strided(raw, self.shape, [stride * item for stride in self.strides]),
            )
            return
        axis = extents.index(max(extents))
        half = self.shape[axis] // 2
        low, high = np.split(out, [half], axis)
        self.narrow(axis, 0, half)._fill(read_into, low)
        self.narrow(axis, half, self.shape[axis])._fill(read_into, high)
