"""Intervals over tasks: cells of one task are not independent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["cluster_interval"]

_ROUNDS = 2_000


def cluster_interval(
    statistic: Callable[..., float], columns: Sequence[npt.NDArray[np.float64]], clusters: Sequence[str]
) -> tuple[float, float]:
    """95 % bootstrap interval of a statistic of columns, whole clusters drawn.

    Draws for which the statistic is undefined (a rank correlation of equal values) are left out.
    """
    random = np.random.default_rng(0)
    names = np.array(clusters)
    groups = [np.flatnonzero(names == name) for name in dict.fromkeys(clusters)]
    found = []
    for _ in range(_ROUNDS):
        rows = np.concatenate([groups[i] for i in random.integers(len(groups), size=len(groups))])
        found.append(statistic(*(column[rows] for column in columns)))
    low, high = np.nanquantile(found, (0.025, 0.975))
    return float(low), float(high)
