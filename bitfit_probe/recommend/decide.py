"""From evidence to the cheapest method that is likely to be within a margin of the best, or `undecided`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import cast

from bitfit_probe.recommend.rule import Rule, published_gaps
from bitfit_probe.records.recommendation import METHODS, Answer, Basis, Expected, Trial

__all__ = ["LIKELY", "PRIOR", "Outlook", "choose", "outlook"]

#: An answer stands where it is more likely than this to lose no more than the margin. A convention: half is
#: the point from which it is right more often than wrong.
LIKELY = 0.5
#: What to begin with where the answer does not stand: LoRA was within a point of the best in most of the
#: published comparisons that ship with the package (published.csv).
PRIOR = "lora"
#: An 80 % interval is this many standard deviations of a normal distribution wide.
_WIDTH = 2 * NormalDist().inv_cdf(0.9)


@dataclass(frozen=True)
class Outlook:
    """What one method is expected to lose, and how likely it is to be within the margin."""

    expected: Expected
    within: float


def choose(gaps: Mapping[str, float], within: Mapping[str, float], margin: float) -> Answer:
    """The cheapest method whose expected score is within the margin of the best expected one.

    A dearer method has to earn its price by more than the margin. Where even the one that is taken is not
    `LIKELY` to be within the margin of whichever method turns out best, the answer is ``undecided``.

    Parameters
    ----------
    gaps
        Expected points below the best method; their differences are those of the expected scores.
    within
        The chance of each method to lose no more than the margin.
    margin
        In points.
    """
    best = min(gaps.values(), default=0.0)
    for method in METHODS:
        if method in gaps and gaps[method] - best <= margin:
            return cast("Answer", method) if within[method] >= LIKELY else "undecided"
    return "undecided"


def outlook(
    rule: Rule,
    values: Mapping[str, float],
    methods: Sequence[str],
    margin: float,
    *,
    outside: Sequence[str] = (),
    trial: Trial | None = None,
) -> tuple[Outlook, ...]:
    """What each method is expected to lose.

    Parameters
    ----------
    rule
        The fitted rule.
    values
        Its features for the task.
    methods
        Those that the model can be trained by, cheapest first.
    margin
        Points that a cheaper method may lose.
    outside
        In which ways the task is unlike those that the rule was fitted to. With any, or where a feature is
        missing, the published comparisons stand in for the rule.
    trial
        Short runs on the user's data: they take the place of forecasts where at least two methods finished.
    """
    if trial is not None and len(trial.results) > 1:
        return tuple(_tried(trial, margin))
    basis: Basis = "measured" if rule.near(values) else "interpolated"
    gaps = rule.gaps(values, methods) if rule.covers(values, methods) and not outside else None
    if gaps is None:
        gaps, basis = published_gaps(tuple(methods)), "out of range"
    return tuple(
        Outlook(
            Expected(method, gaps.expected(method), gaps.interval(method), basis),
            gaps.within(method, margin),
        )
        for method in methods
    )


def _tried(trial: Trial, margin: float) -> Iterator[Outlook]:
    for method in METHODS:
        result = trial.of(method)
        if result is None:
            continue
        low, high = result.gap_interval
        spread = (high - low) / _WIDTH
        normal = NormalDist(result.gap, max(spread, 1e-9))
        yield Outlook(Expected(method, result.gap, (low, high), "trial"), normal.cdf(margin))
