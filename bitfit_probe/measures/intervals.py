"""Confidence intervals for paired differences, and when one may look at them before the end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Interval", "Look", "looks", "mean_interval", "share_interval"]

Interval: TypeAlias = tuple[float, float]
Array: TypeAlias = "npt.NDArray[np.float64]"

#: Resamples: the 0.5 % quantile of the first look rests on 20 of them.
_RESAMPLES = 4000
#: Elements of a block of resamples in memory.
_BLOCK = 1 << 20
_SEED = 1
#: The share of the examples, and of the error, that each look takes.
_SCHEDULE = ((0.25, 0.2), (0.5, 0.2), (1.0, 0.6))
#: With fewer examples a first look tells nothing.
_FEWEST_AT_A_LOOK = 64


class Look:
    """One look at the data: how many examples it takes, and the confidence of its interval."""

    def __init__(self, examples: int, confidence: float) -> None:
        self.examples = examples
        self.confidence = confidence


def looks(examples: int, confidence: float, *, early_stop: bool = True) -> list[Look]:
    """When to look at the interval of a mean over `examples`.

    The chance of error, 1 − confidence, is divided among the looks, so that by Bonferroni's inequality all
    intervals hold together with `confidence`, whenever one stops. The looks before the last take little of it
    (a fifth each), so that a full pass costs little width: at 95 % it ends with a 97 % interval.

    Examples
    --------
    >>> [(look.examples, round(look.confidence, 3)) for look in looks(600, 0.95)]
    [(150, 0.99), (300, 0.99), (600, 0.97)]
    >>> [(look.examples, look.confidence) for look in looks(100, 0.95)]
    [(100, 0.95)]
    """
    if not early_stop or examples * _SCHEDULE[0][0] < _FEWEST_AT_A_LOOK:
        return [Look(examples, confidence)]
    return [Look(round(part * examples), 1 - share * (1 - confidence)) for part, share in _SCHEDULE]


def mean_interval(values: Array, confidence: float) -> Interval:
    """Interval for the mean of independent `values`, by the studentised bootstrap.

    Differences of losses are skewed: most examples do not change, a few get much worse. Student's
    interval then ends too low and would call a harmful change free; the studentised bootstrap takes the
    skewness into account (Efron & Tibshirani 1993, §12.5; Hall 1988). The resamples are the same in
    every run.

    Parameters
    ----------
    values
        Shape (n,).
    confidence
        Such as 0.95, in two equal tails.

    Returns
    -------
    tuple of float
        Lower and upper end; infinite where the values don't tell (fewer than two, or all but a few of
        them equal), of width 0 where all are equal.
    """
    count, mean = len(values), float(values.mean())
    if count < 2:
        return -math.inf, math.inf
    error = float(values.std(ddof=1)) / math.sqrt(count)
    if error == 0:
        return mean, mean
    statistics = np.concatenate(list(_studentised(values)))
    tail = (1 - confidence) / 2
    low, high = np.quantile(statistics, [tail, 1 - tail], method="inverted_cdf")
    return mean - float(high) * error, mean - float(low) * error


def _studentised(values: Array) -> Iterator[Array]:
    """(mean* − mean) / error* of resamples, infinite where a resample holds one value only."""
    random, count = np.random.default_rng(_SEED), len(values)
    rows = max(_BLOCK // count, 1)
    for start in range(0, _RESAMPLES, rows):
        shape = (min(rows, _RESAMPLES - start), count)
        drawn = values[random.integers(0, count, shape)]
        shift = drawn.mean(axis=1) - values.mean()
        error = drawn.std(axis=1, ddof=1) / math.sqrt(count)
        with np.errstate(divide="ignore", invalid="ignore"):
            yield np.nan_to_num(shift / error, nan=0.0, posinf=np.inf, neginf=-np.inf)


def share_interval(lost: int, won: int, examples: int, confidence: float) -> Interval:
    """Interval for the difference of two paired shares, from the discordant pairs.

    Wald's interval after half a pair was added to each of the four cells (Agresti & Min 2005, eq. 3).

    Parameters
    ----------
    lost, won
        Examples that were right before only, and after only.
    examples
        All examples, those included that did not change.
    confidence
        Such as 0.95.

    Examples
    --------
    >>> [round(end, 3) for end in share_interval(40, 10, 200, 0.95)]
    [-0.215, -0.082]
    """
    count, worse, better = examples + 2, lost + 0.5, won + 0.5
    shift = (better - worse) / count
    spread = math.sqrt(worse + better - (better - worse) ** 2 / count) / count
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * spread
    return max(shift - reach, -1.0), min(shift + reach, 1.0)
