"""The direction in which a checkpoint's biases moved, in a few numbers that others can be held against."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.measures.delta_similarity import moved_biases
from bitfit_probe.pair import Pair

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["WIDTH", "bias_sketch"]

#: Numbers in a sketch. The cosine of two sketches misses that of the changes by 1/√1024 ≈ 0.03 (one standard
#: deviation) where the changes have nothing in common, and by less the more they have.
WIDTH = 1024


def bias_sketch(pair: Pair) -> npt.NDArray[np.float64]:
    """A count sketch of the change of all biases outside the head, key biases that softmax cancels left out.

    Every element goes with a random sign to one of `WIDTH` places; signs and places depend on the tensor's
    name in the base alone, so that sketches from different machines can be compared. A bias that moved by
    rounding only counts as unmoved; what is not finite counts as 0.

    Returns
    -------
    numpy.ndarray
        Shape (WIDTH,); its norm estimates ‖Δ‖₂.

    References
    ----------
    Charikar, Chen, Farach-Colton (2002): Finding frequent items in data streams, §3; as a random projection,
    Weinberger et al. (2009): Feature hashing for large scale multitask learning, lemma 2.
    """
    out = np.zeros(WIDTH)
    for (name, role), delta in moved_biases(pair):
        random = np.random.default_rng(zlib.crc32(f"{name} {role}".encode()))
        places = random.integers(0, WIDTH, delta.size)
        signs = random.integers(0, 2, delta.size) * 2.0 - 1.0
        out += np.bincount(places, signs * delta, WIDTH)
    return out
