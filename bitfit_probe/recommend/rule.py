"""The rule of the decision: from a few numbers about a task to what each method is expected to lose.

LoRA is the reference. How much BitFit and full fine-tuning score above or below it is a line in a few features
each; what the lines missed on tasks that they were not fitted to is kept in pairs, and put on top of a new
prediction it gives the distribution of every method's gap to the best one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["FEATURES", "Gaps", "Line", "Rule", "fit", "shipped"]

Floats = npt.NDArray[np.float64]

#: What the lines may look at; see `bitfit_probe.recommend.features` for how each is had.
FEATURES: Mapping[str, tuple[str, ...]] = {
    "bitfit": ("log2_examples", "skill", "reach_lora_over_bitfit"),
    "full": ("log2_examples", "skill", "reach_full_over_lora"),
}
#: Lowest and highest quantile of an 80 % interval.
_TAILS = (0.1, 0.9)


@dataclass(frozen=True)
class Line:
    """A ridge fit: intercept and slopes a standard deviation of each feature."""

    features: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    slopes: tuple[float, ...]
    intercept: float

    def at(self, values: Mapping[str, float]) -> float:
        """The prediction for one task, points above LoRA."""
        parts = zip(self.features, self.means, self.scales, self.slopes, strict=True)
        return self.intercept + sum(
            slope * (values[name] - mean) / scale for name, mean, scale, slope in parts
        )


@dataclass(frozen=True)
class Gaps:
    """The distribution of each method's gap to the best one, as equally likely cases.

    Attributes
    ----------
    cases
        By method, points below the best, shape (cases,).
    """

    cases: Mapping[str, Floats]

    def expected(self, method: str) -> float:
        return float(self.cases[method].mean())

    def interval(self, method: str) -> tuple[float, float]:
        """80 % interval."""
        low, high = np.quantile(self.cases[method], _TAILS)
        return float(low), float(high)

    def within(self, method: str, margin: float) -> float:
        """The probability that a method loses no more than `margin` points."""
        return float(np.mean(self.cases[method] <= margin))


@dataclass(frozen=True)
class Rule:
    """What was fitted, what it missed, and where it was fitted.

    Attributes
    ----------
    lines
        For BitFit and full: points above LoRA.
    missed
        On tasks left out of the fit: what was seen less what was predicted, (BitFit, full) a cell.
    ranges
        Lowest and highest value of each feature in the cells.
    """

    lines: Mapping[str, Line]
    missed: tuple[tuple[float, float], ...]
    ranges: Mapping[str, tuple[float, float]]

    def gaps(self, values: Mapping[str, float], methods: Sequence[str] = ("bitfit", "lora", "full")) -> Gaps:
        """What each of `methods` is expected to lose against the best of them."""
        missed = dict(zip(("bitfit", "full"), np.asarray(self.missed).T, strict=True))
        scores = {"lora": np.zeros(len(self.missed))}
        for method, line in self.lines.items():
            if method in methods:
                scores[method] = line.at(values) + missed[method]
        best = np.max([scores[method] for method in methods], axis=0)
        return Gaps({method: best - scores[method] for method in methods})

    def outside(self, values: Mapping[str, float]) -> tuple[str, ...]:
        """Names of the values that lie outside the range of the cells."""
        return tuple(
            name
            for name, (low, high) in self.ranges.items()
            if name in values and not low <= values[name] <= high
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "lines": {method: vars(line) for method, line in self.lines.items()},
            "missed": self.missed,
            "ranges": self.ranges,
        }

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Rule:
        """From what `as_dict` gave."""
        lines = {
            method: Line(**{k: tuple(v) if isinstance(v, list) else v for k, v in line.items()})
            for method, line in stored["lines"].items()
        }
        missed = tuple((float(bias), float(full)) for bias, full in stored["missed"])
        return cls(lines, missed, {k: (v[0], v[1]) for k, v in stored["ranges"].items()})
