"""From evidence to the method that is likely to be within a margin of the best, or `undecided`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from bitfit_probe.recommendation.rule import Rule, published_gaps
from bitfit_probe.records.recommendation import METHODS, Answer, Basis, Expected, Trial

__all__ = ["LIKELY", "PRIOR", "SURE", "Outlook", "choose", "outlook"]

#: From this chance on to lose no more than the margin LoRA is the answer: it is right more often than wrong.
LIKELY = 0.5
#: From this chance on another method is. A convention: from 0.65 to 0.8 the advice is nearly the same on the
#: cells that the rule was fitted to.
SURE = 0.75
#: What to begin with: LoRA was within a point of the best in most of the published comparisons that ship with
#: the package (published.csv), and no rule beat it.
PRIOR = "lora"
#: An 80 % interval is this many standard deviations of a normal distribution wide.
_WIDTH = 2 * NormalDist().inv_cdf(0.9)


@dataclass(frozen=True)
class Outlook:
    """What one method is expected to lose, and how likely it is to be within the margin.

    With a margin of `enough` points it is as likely to be within it as an answer has to be.
    """

    expected: Expected
    within: float
    enough: float


def choose(within: Mapping[str, float]) -> Answer:
    """LoRA, unless another method is `SURE` enough, or LoRA itself is not `LIKELY`.

    No rule that was tried did better than always LoRA at its price (docs/validation.md), so that it takes
    much to leave it: for a cheaper method to be likely to lose no more than the margin, for a dearer one LoRA
    to be as unlikely to. Where LoRA stays but is likelier than not to lose more, it is ``undecided``.

    Parameters
    ----------
    within
        The chance of each method to lose no more than the margin against the best.
    """
    lora = within.get(PRIOR, 0.0)
    if within.get("bitfit", 0.0) >= SURE:
        return "bitfit"
    if within.get("full", 0.0) >= SURE and lora <= 1 - SURE:
        return "full"
    return "lora" if lora >= LIKELY else "undecided"


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
            gaps.quantile(method, _needed(method)),
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
        yield Outlook(
            Expected(method, result.gap, (low, high), "trial"),
            normal.cdf(margin),
            normal.inv_cdf(_needed(method)),
        )


def _needed(method: str) -> float:
    """The chance from which a method is the answer."""
    return LIKELY if method == PRIOR else SURE
