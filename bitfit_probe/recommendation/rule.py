"""The rule of the decision: from a few numbers about a task to what each method is expected to lose.

LoRA is the reference. How much BitFit and full fine-tuning score above or below it is a line in a few
features each; what the lines missed on tasks that they were not fitted to is kept in pairs, and put on top of
a new prediction it gives the distribution of every method's gap to the best one.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from bitfit_probe.records.recommendation import METHODS

__all__ = ["FEATURES", "Gaps", "Line", "Rule", "Shipped", "published_gaps", "shipped"]

Floats = npt.NDArray[np.float64]

#: What the lines look at: the size of the model. Of all that was tried (docs/validation.md) nothing told
#: methods apart on tasks left out; reach foresees how high a method scores, but not by how much two differ.
FEATURES: Mapping[str, tuple[str, ...]] = {
    "bitfit": ("log2_parameters",),
    "full": ("log2_parameters",),
}
#: Lowest and highest quantile of an 80 % interval.
_TAILS = (0.1, 0.9)
#: Values this share of the cells' range apart count as the same task met again. A convention.
_NEAR = 0.1
#: Copies of a comparison of the largest paper: more make the papers' weights more nearly equal.
_COPIES = 10


@dataclass(frozen=True)
class Line:
    """A ridge fit: intercept and slopes a standard deviation of each feature."""

    features: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    slopes: tuple[float, ...]
    intercept: float

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Line:
        """From JSON, which has lists for tuples."""
        return cls(
            features=tuple(stored["features"]),
            means=tuple(stored["means"]),
            scales=tuple(stored["scales"]),
            slopes=tuple(stored["slopes"]),
            intercept=stored["intercept"],
        )

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
        """Mean gap."""
        return float(self.cases[method].mean())

    def interval(self, method: str) -> tuple[float, float]:
        """80 % interval."""
        low, high = np.quantile(self.cases[method], _TAILS)
        return float(low), float(high)

    def quantile(self, method: str, share: float) -> float:
        """The gap that this share of the cases does not exceed."""
        return float(np.quantile(self.cases[method], share, method="inverted_cdf"))

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
    points
        The cells that it was fitted to: all their values by name, whether the lines look at them or not.
    """

    lines: Mapping[str, Line]
    missed: tuple[tuple[float, float], ...]
    points: tuple[Mapping[str, float], ...]

    def gaps(self, values: Mapping[str, float], methods: Sequence[str] = tuple(METHODS)) -> Gaps:
        """What each of `methods` is expected to lose against the best of them."""
        return _gaps({method: self._over_lora(method, values) for method in methods})

    def interval(self, method: str, values: Mapping[str, float]) -> tuple[float, float]:
        """80 % interval of the points that a method scores above LoRA."""
        low, high = np.quantile(self._over_lora(method, values), _TAILS)
        return float(low), float(high)

    def _over_lora(self, method: str, values: Mapping[str, float]) -> Floats:
        """Points that a method scores above LoRA, as equally likely cases."""
        missed = dict(zip(("bitfit", "full"), np.asarray(self.missed).T, strict=True))
        if method not in missed:
            return np.zeros(len(self.missed))
        return np.asarray(self.lines[method].at(values) + missed[method])

    def covers(self, values: Mapping[str, float], methods: Sequence[str]) -> bool:
        """Whether `values` has all that the lines of `methods` look at."""
        return all(
            name in values
            for method, line in self.lines.items()
            if method in methods
            for name in line.features
        )

    def outside(self, values: Mapping[str, float]) -> dict[str, tuple[float, float]]:
        """Those of the values that no cell reaches, with the lowest and highest of the cells."""
        ranges = {name: self._range(name) for name in values}
        return {
            name: seen for name, seen in ranges.items() if seen and not seen[0] <= values[name] <= seen[1]
        }

    def near(self, values: Mapping[str, float]) -> bool:
        """Whether a cell has nearly the same values, none of them further off than `_NEAR` of its range."""
        widths = {name: seen[1] - seen[0] for name in values if (seen := self._range(name))}
        return any(
            all(abs(point[name] - values[name]) <= _NEAR * width for name, width in widths.items())
            for point in self.points
        )

    def _range(self, name: str) -> tuple[float, float] | None:
        seen = [point[name] for point in self.points if name in point]
        return (min(seen), max(seen)) if len(seen) == len(self.points) else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "lines": {method: vars(line) for method, line in self.lines.items()},
            "missed": self.missed,
            "points": self.points,
        }

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Rule:
        """From what `as_dict` gave."""
        lines = {method: Line.of(line) for method, line in stored["lines"].items()}
        missed = tuple((float(bias), float(full)) for bias, full in stored["missed"])
        return cls(lines, missed, tuple(stored["points"]))


@dataclass(frozen=True)
class Shipped:
    """The rule that ships with the package, and how it did on tasks that it was not fitted to.

    Attributes
    ----------
    rule
        The rule.
    calibrated
        Whether it did what it must.
    validation
        Figures by name, as in docs/validation.md.
    """

    rule: Rule
    calibrated: bool
    validation: Mapping[str, float]


@cache
def shipped() -> Shipped:
    """What ``python -m benchmarks.recommend.validate`` wrote to calibration.json."""
    text = resources.files(__package__).joinpath("calibration.json").read_text(encoding="utf-8")
    stored = json.loads(text)
    return Shipped(Rule.of(stored["rule"]), stored["calibrated"], stored["validation"])


@cache
def published_gaps(methods: tuple[str, ...] = tuple(METHODS)) -> Gaps:
    """Gaps in published comparisons of all three methods (published.csv), every paper counting the same."""
    text = resources.files(__package__).joinpath("published.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    papers = [row["source"] for row in rows]
    # As many copies of a paper's comparisons as bring it to (nearly) the weight of the largest.
    most = max(map(papers.count, papers))
    copies = [round(_COPIES * most / papers.count(paper)) for paper in papers]
    return _gaps({method: np.repeat([float(row[method]) for row in rows], copies) for method in methods})


def _gaps(scores: Mapping[str, Floats]) -> Gaps:
    best = np.max(list(scores.values()), axis=0)
    return Gaps({method: best - found for method, found in scores.items()})
