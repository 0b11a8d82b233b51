"""NF4's own rounding: what plain weights become when they are packed and unpacked again.

Dettmers et al. 2023 (QLoRA, arXiv 2305.14314), §3 and appendix E: blocks of 64 in the order of storage, each
by its largest absolute value, to the nearest of 16 levels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Float64: TypeAlias = npt.NDArray[np.float64]

__all__ = ["BLOCK", "through_nf4"]

BLOCK = 64
#: The quantiles of a normal distribution, as bitsandbytes has them.
LEVELS = np.array(
    (
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635),
        *(-0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725),
        *(0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941),
        *(0.7229568362236023, 1.0),
    )
)
_EDGES = (LEVELS[1:] + LEVELS[:-1]) / 2


def through_nf4(base: Float64, near: Float64) -> Float64:
    """What rows of `base` become through NF4, with the scales that fit `near` best.

    Scales may have been quantised themselves (double quantisation) and cost a number a block, which is taken
    from the values that the result is held against.

    Parameters
    ----------
    base, near
        Shape (rows, columns), columns a multiple of `BLOCK`.
    """
    blocks, wanted = base.reshape(-1, BLOCK), near.reshape(-1, BLOCK)
    largest = np.abs(blocks).max(axis=1, keepdims=True)
    levels = LEVELS[np.searchsorted(_EDGES, blocks / np.where(largest, largest, 1.0))]
    squares = np.sum(levels * levels, axis=1, keepdims=True)
    scales = np.sum(wanted * levels, axis=1, keepdims=True) / np.where(squares, squares, 1.0)
    return np.asarray(scales * levels).reshape(base.shape)
