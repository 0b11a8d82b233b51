"""Which examples are held out together, so that each is held out once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["folds"]


def folds(
    targets: npt.NDArray[np.generic], count: int, *, spread: bool, seed: int = 0
) -> list[npt.NDArray[np.int64]]:
    """The places of each fold, ascending; fewer folds where there are fewer examples.

    Parameters
    ----------
    targets
        One an example, shape (examples,).
    count
        How many folds.
    spread
        Whether each target (a class, a range of values) is spread evenly over the folds.
    seed
        Of the order in which examples are dealt.
    """
    order = np.random.default_rng(seed).permutation(len(targets))
    if spread:
        order = order[np.argsort(targets[order], kind="stable")]
    return [np.sort(order[number::count]) for number in range(min(count, len(targets)))]
