"""Tensors of which the pieces lie in several storages: partitions one after the other, or tiles."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence

import numpy as np

from bitfit_probe.checkpoint.storage.computed import RowStorage
from bitfit_probe.checkpoint.storage.dtypes import DType
from bitfit_probe.checkpoint.storage.tensor import Array, Bytes, Tensor
from bitfit_probe.frozen import Frozen

__all__ = ["JoinedStorage", "Tile", "tiled"]


class JoinedStorage:
    """The elements of `pieces`, all of one type, one piece after the other.

    Raises
    ------
    ValueError
        The pieces are not of one type, or there is none.
    """

    crc32: int | None = None

    def __init__(self, pieces: Sequence[Tensor]) -> None:
        if len({piece.dtype.name for piece in pieces}) != 1:
            raise ValueError("pieces of several element types, or none")
        self.dtype = pieces[0].dtype
        self._pieces = [piece for piece in pieces if piece.size]
        self._ends = list(itertools.accumulate(piece.size for piece in self._pieces))
        self.nbytes = (self._ends[-1] if self._ends else 0) * self.dtype.itemsize

    def read_into(self, out: Bytes, offset: int) -> None:
        """Fill `out` from byte `offset`; both are whole elements."""
        raw = out.view(self.dtype.storage)
        at, done = offset // self.dtype.itemsize, 0
        while done < len(raw):
            info = bisect.bisect_right(self._ends, at)
            piece = self._pieces[info]
            start = at - (self._ends[info] - piece.size)
            stop = min(start + len(raw) - done, piece.size)
            piece.read(start, stop, raw[done : done + stop - start])
            done, at = done + stop - start, at + stop - start


class Tile(Frozen):
    """A block of a larger tensor, and where in it the block begins."""

    tensor: Tensor
    offsets: tuple[int, ...]


def tiled(name: str, dtype: DType, shape: tuple[int, ...], tiles: Sequence[Tile]) -> Tensor:
    """The tensor that `tiles` make up, read by rows.

    Raises
    ------
    ValueError
        The tiles don't fill `shape`, or reach beyond it.
    """
    if sum(tile.tensor.size for tile in tiles) != math.prod(shape):
        raise ValueError(f"{name}: its pieces don't add up to its shape")
    if len({tile.offsets for tile in tiles if tile.tensor.size}) != sum(
        tile.tensor.size > 0 for tile in tiles
    ):
        raise ValueError(f"{name}: two pieces of it begin at the same place")
    for tile in tiles:
        sizes = tile.tensor.shape
        if tile.tensor.dtype.name != dtype.name or not len(sizes) == len(tile.offsets) == len(shape):
            raise ValueError(f"{name}: a piece of another type or number of axes")
        if any(
            at < 0 or at + size > whole for at, size, whole in zip(tile.offsets, sizes, shape, strict=True)
        ):
            raise ValueError(f"{name}: a piece reaches beyond its shape")
    if len(tiles) == 1:
        (only,) = tiles
        return Tensor(name, dtype, shape, only.tensor.storage, only.tensor.offset, only.tensor.strides)

    def rows(start: int, stop: int) -> Array:
        out = np.empty((stop - start, *shape[1:]), dtype.storage)
        for tile in tiles:
            _put(tile, start, stop, out)
        return out

    storage = RowStorage(shape[0], math.prod(shape[1:]), rows, dtype.itemsize)
    return Tensor.contiguous(name, dtype, shape, storage)


def _put(tile: Tile, start: int, stop: int, out: Array) -> None:
    """Copy what of `tile` lies in rows ``[start, stop)`` to `out`, which holds these rows."""
    first = tile.offsets[0]
    low, high = max(start, first), min(stop, first + tile.tensor.shape[0])
    if low >= high:
        return
    columns = math.prod(tile.tensor.shape[1:])
    block = np.empty((high - low) * columns, tile.tensor.dtype.storage)
    tile.tensor.read((low - first) * columns, (high - first) * columns, block)
    infos = zip(tile.offsets[1:], tile.tensor.shape[1:], strict=True)
    where = (slice(low - start, high - start), *(slice(at, at + size) for at, size in infos))
    out[where] = block.reshape(high - low, *tile.tensor.shape[1:])
