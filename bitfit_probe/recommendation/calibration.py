"""What this project's own runs say of the methods, and how far held-out examples can be believed.

Everything is in points above LoRA, at learning rates that held-out examples chose. `make validate` fits it
and writes calibration.json; docs/validation.md says how it did on tasks that it was not fitted to.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from bitfit_probe.records.recommendation import METHODS

__all__ = ["Calibration", "Line", "Spread", "published", "shipped"]


@dataclass(frozen=True)
class Spread:
    """A normal distribution of points above LoRA."""

    mean: float
    sd: float


@dataclass(frozen=True)
class Line:
    """From a gap that was seen on held-out examples to the true one: ``intercept + slope · seen``, ± sd.

    The slope is below 1, because the seen gap holds the noise of few examples and of having chosen the rate
    by them (regression to the mean; Efron & Morris 1973).
    """

    intercept: float
    slope: float
    sd: float

    def at(self, seen: float) -> Spread:
        """What is to be expected where `seen` points were seen."""
        return Spread(self.intercept + self.slope * seen, self.sd)


@dataclass(frozen=True)
class Calibration:
    """What the runs say.

    Attributes
    ----------
    cells, tasks
        On how many models and training sets, of how many tasks.
    ranges
        By ``parameters``, ``classes`` and ``examples``: the least and the most there were.
    prior
        By method: points above LoRA over tasks, before anything is trained.
    within
        Shares of drawings in which BitFit lost no more than 1 and 2 points against LoRA.
    lines
        By method and number of held-out examples.
    right
        By number of held-out examples: how often "within a point", said at 80 % and more, was right.
    passed
        By number of held-out examples: whether everything held that docs/validation.md asks for.
    """

    cells: int
    tasks: int
    ranges: Mapping[str, tuple[float, float]]
    prior: Mapping[str, Spread]
    within: tuple[float, float]
    lines: Mapping[str, Mapping[int, Line]]
    right: Mapping[int, float]
    passed: Mapping[int, bool]

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Calibration:
        """From JSON."""
        return cls(
            cells=stored["cells"],
            tasks=stored["tasks"],
            ranges={name: (low, high) for name, (low, high) in stored["ranges"].items()},
            prior={method: Spread(*values) for method, values in stored["prior"].items()},
            within=tuple(stored["within"]),
            lines={
                method: {int(count): Line(*values) for count, values in lines.items()}
                for method, lines in stored["lines"].items()
            },
            right={int(count): share for count, share in stored["right"].items()},
            passed={int(count): flag for count, flag in stored["passed"].items()},
        )

    def shrunk(self, method: str, seen: float, count: int) -> Spread:
        """Points above LoRA, where `seen` were seen on so many held-out examples.

        Between the numbers that were tried lines are taken in proportion to the logarithm; outside, the
        nearest.
        """
        lines = self.lines[method]
        counts = sorted(lines)
        at = np.interp(math.log(max(count, 1)), np.log(counts), range(len(counts)))
        below, above = (lines[counts[step(at)]].at(seen) for step in (math.floor, math.ceil))
        part = at - math.floor(at)
        return Spread(
            (1 - part) * below.mean + part * above.mean, float((1 - part) * below.sd + part * above.sd)
        )

    def nearest(self, count: int) -> int:
        """The largest number tried that is no larger than `count`; the smallest where all are larger."""
        tried = sorted(self.passed)
        return max((known for known in tried if known <= count), default=tried[0])


@cache
def shipped() -> Calibration:
    """What ``python -m benchmarks.recommend.validate`` wrote to calibration.json."""
    text = resources.files(__package__).joinpath("calibration.json").read_text(encoding="utf-8")
    return Calibration.of(json.loads(text))


@cache
def published() -> Mapping[str, Spread]:
    """Points above LoRA in published comparisons (published.csv), every paper counting the same.

    For models and tasks unlike those that were run.
    """
    text = resources.files(__package__).joinpath("published.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    papers = [row["source"] for row in rows]
    weights = np.array([1 / papers.count(paper) for paper in papers])
    found = {}
    for method in METHODS:
        over = np.array([float(row[method]) - float(row["lora"]) for row in rows])
        mean = np.average(over, weights=weights)
        found[method] = Spread(float(mean), float(np.sqrt(np.average((over - mean) ** 2, weights=weights))))
    return found
