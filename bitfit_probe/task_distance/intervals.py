"""Intervals over examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["bootstrap_mean"]

_REPEATS = 2000


def bootstrap_mean(
    values: npt.NDArray[np.float64], *, seed: int = 0, level: float = 0.95
) -> tuple[float, tuple[float, float]]:
    """The mean of `values`, and its percentile bootstrap interval (Efron & Tibshirani 1993, §13.3).

    Accuracies of 0 or 1 would get an interval of no width; those end at the rule of three, 3/n.
    """
    count = len(values)
    random = np.random.default_rng(seed)
    means = values[random.integers(0, count, (_REPEATS, count))].mean(1)
    low, high = (float(q) for q in np.quantile(means, [(1 - level) / 2, (1 + level) / 2]))
    mean = float(values.mean())
    if low == high and set(np.unique(values)) <= {0.0, 1.0}:
        low, high = max(0.0, mean - 3 / count), min(1.0, mean + 3 / count)
    return mean, (low, high)
