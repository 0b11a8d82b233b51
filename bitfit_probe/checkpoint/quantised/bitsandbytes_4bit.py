"""bitsandbytes, 4 bits: NF4 and FP4, with plain or with quantised scales.

Two codes a byte, the first in the upper half, over the flat elements; a block of 64 (or another number) has
its largest magnitude as its scale. How large blocks and tensor are stands in a JSON text that is saved as a
tensor (``QuantState.as_dict``; Dettmers et al. 2023, arXiv 2305.14314).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bitfit_probe.checkpoint.parsing.bounded_json import parse
from bitfit_probe.checkpoint.quantised.grid import FLOATS, Grid, Rows, by_rows, floats_by_rows, grid_tensor
from bitfit_probe.checkpoint.quantised.interface import Packed, Tensors, part
from bitfit_probe.checkpoint.quantised.settings import Settings
from bitfit_probe.checkpoint.storage.dtypes import quantised
from bitfit_probe.checkpoint.storage.tensor import Tensor

__all__ = ["MARKS", "read"]

MARKS = (".quant_state.bitsandbytes__nf4", ".quant_state.bitsandbytes__fp4")
_LONGEST_STATE, _LARGEST_BLOCK = 1 << 12, 1 << 16


def read(stem: str, mark: str, tensors: Tensors, settings: Settings) -> Packed | None:
    """The weight `stem`."""
    kind = mark[-3:]
    state = _state(part(tensors, stem + mark, "uint8"))
    shape, block = tuple(state["shape"]), state["blocksize"]
    if not all(type(size) is int and size > 0 for size in shape) or not 1 < block <= _LARGEST_BLOCK:
        raise ValueError("impossible sizes")
    codes, absmax = part(tensors, stem), part(tensors, f"{stem}.absmax")
    levels = part(tensors, f"{stem}.quant_map", *FLOATS)
    if levels.size != 16 or block % 2 or not codes.is_contiguous:
        raise ValueError("not 16 levels")
    table = tuple(levels.values().reshape(-1).tolist())
    if not np.isfinite(table).all() or not any(table):
        raise ValueError("levels that are none")
    blocks = -(-math.prod(shape) // block)
    names = [stem, stem + mark, f"{stem}.absmax", f"{stem}.quant_map"]
    scales, parts = floats_by_rows(absmax, blocks), [codes, absmax, levels]
    if "nested_blocksize" in state:
        outer, inner = (part(tensors, f"{stem}.nested_{name}", *FLOATS) for name in ("absmax", "quant_map"))
        scales = _nested(absmax, outer, inner, state, blocks)
        names += [outer.name, inner.name]
        parts += [outer, inner]
    if codes.nbytes < -(-math.prod(shape) // 2) or absmax.size != blocks:
        raise ValueError("too few codes or scales")
    form = str(state.get("nested_offset"))
    grid = Grid(block, table, _flat(codes, block // 2), scales, high_first=True, form=form)
    widest = max(np.diff(sorted(table))) / 2 / max(map(abs, table), default=1)
    dtype = quantised(kind, block, 4, float(widest))
    return Packed(grid_tensor(stem, dtype, shape, blocks, grid, tuple(parts)), tuple(names))


def _state(tensor: Tensor) -> dict[str, Any]:
    if tensor.size > _LONGEST_STATE:
        raise ValueError("a long state")
    raw = np.empty(tensor.size, np.uint8)
    tensor.read(0, tensor.size, raw)
    state = parse(raw.tobytes())
    if not isinstance(state, dict) or not isinstance(state.get("shape"), list):
        raise ValueError("no state")
    if type(state.get("blocksize")) is not int:
        raise ValueError("no size of blocks")
    return state


def _flat(tensor: Tensor, width: int) -> Rows:
    """Rows of `width` bytes of `tensor`, the last filled up with zeros."""

    def read(start: int, stop: int) -> Any:
        out = np.zeros((stop - start) * width, np.uint8)
        count = min(len(out), tensor.nbytes - start * width)
        tensor.storage.read_into(out[:count], tensor.offset * tensor.dtype.itemsize + start * width)
        return out.reshape(stop - start, width)

    return read


def _nested(absmax: Tensor, outer: Tensor, levels: Tensor, state: dict[str, Any], blocks: int) -> Rows:
    """Scales that are quantised themselves: 256 levels, a scale a block of them, and an offset of all."""
    block, offset = state["nested_blocksize"], state.get("nested_offset")
    if type(block) is not int or not 0 < block <= _LARGEST_BLOCK or type(offset) not in (int, float):
        raise ValueError("impossible sizes of nested blocks")
    if levels.size != 256 or absmax.dtype.name != "uint8" or outer.size != -(-blocks // block):
        raise ValueError("too few nested scales")
    table, codes = levels.values().reshape(-1).astype(np.float32), by_rows(absmax, blocks)
    scales, shift = floats_by_rows(outer, blocks, each=block), np.float32(offset)

    def read(start: int, stop: int) -> Any:
        return table[codes(start, stop)] * scales(start, stop) + shift

    return read
