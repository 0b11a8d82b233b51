"""Which run of a trial comes next: rates on one fold, then the two best of each method on all folds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from bitfit_probe.recommendation.trial.folds import FOLDS
from bitfit_probe.recommendation.trial.run import Step
from bitfit_probe.records.recommendation import TrialRun
from bitfit_probe.tuning.options import LEARNING_RATES
from bitfit_probe.tuning.search import EXTRA, beyond, first_rates

__all__ = ["EXPECTED_RUNS", "Plan", "middle_rate"]

#: Rates of a method that go to all folds.
_KEPT = 2
#: Runs of a method that a trial is expected to need: three rates on a fold and one outside, then the others.
EXPECTED_RUNS = 4 + _KEPT * (FOLDS - 1)


@dataclass(frozen=True)
class Plan:
    """A sweep of learning rates on the first fold, then the best two on the others.

    Attributes
    ----------
    methods
        What is compared.
    chance
        The score of a guess that does not look at the text.
    """

    methods: Sequence[str]
    chance: float

    def next(self, runs: Sequence[TrialRun]) -> Step | None:
        """The first run that is missing; None where nothing is left to do."""
        done = {Step.of(run) for run in runs}
        return next((step for step in self._wanted(runs) if step not in done), None)

    def left(self, runs: Sequence[TrialRun]) -> dict[str, int]:
        """By method: runs that are expected to be missing; at least one where one is."""
        found = {}
        for method in self.methods:
            done = sum(run.method == method for run in runs)
            ended = Plan((method,), self.chance).next(runs) is None
            found[method] = 0 if ended else max(1, EXPECTED_RUNS - done)
        return found

    def _wanted(self, runs: Sequence[TrialRun]) -> Iterator[Step]:
        for place in (1, 2, 0):  # the middle rate, then the higher: short runs want it more often
            for method in self.methods:
                yield Step(method, _tidy(first_rates(LEARNING_RATES[method])[place]), 0)
        yield from self._outside(runs)
        for place in range(_KEPT):  # all methods at their best rate before any at its second
            for fold in range(1, FOLDS):
                for method in self.methods:
                    kept = self.kept(runs, method)
                    if place < len(kept):
                        yield Step(method, kept[place], fold)

    def _outside(self, runs: Sequence[TrialRun]) -> list[Step]:
        """Rates beyond those tried, of the methods whose best is at the edge; fewest tried first."""
        steps = []
        for method in self.methods:
            tried = self.rates(runs, method)
            outside = self._beyond(runs, method, tried)
            if outside is not None and len(tried) < 3 + EXTRA:
                steps.append((len(tried), Step(method, _tidy(outside), 0)))
        return [step for _, step in sorted(steps, key=lambda item: item[0])]

    def _beyond(self, runs: Sequence[TrialRun], method: str, tried: Sequence[float]) -> float | None:
        first = [run for run in runs if (run.method, run.fold) == (method, 0)]
        if not first:
            return None
        best = max(first, key=_worth)
        # Where no rate has taught anything yet, which of them is best says nothing: they were too low.
        return beyond(tried, max(tried) if best.score <= self.chance else best.rate)

    def kept(self, runs: Sequence[TrialRun], method: str) -> list[float]:
        """The rates that go to all folds, best on the first fold first; none that diverged there."""
        first = [run for run in runs if (run.method, run.fold) == (method, 0) and math.isfinite(run.score)]
        return [run.rate for run in sorted(first, key=_worth, reverse=True)[:_KEPT]]

    def best(self, runs: Sequence[TrialRun], method: str) -> float | None:
        """Of the rates with most folds, the one with the highest mean score; None where all diverged."""
        by_rate = {
            rate: [run for run in runs if (run.method, run.rate) == (method, rate)]
            for rate in self.kept(runs, method)
        }
        most = max(map(len, by_rate.values()), default=0)
        rates = [rate for rate, found in by_rate.items() if len(found) == most]
        return max(rates, key=lambda rate: _mean_worth(by_rate[rate]), default=None)

    def rates(self, runs: Sequence[TrialRun], method: str) -> list[float]:
        """The rates that the sweep tried."""
        return [run.rate for run in runs if (run.method, run.fold) == (method, 0)]


def middle_rate(method: str) -> float:
    """The rate that a method is tried at first."""
    return _tidy(LEARNING_RATES[method])


def _worth(run: TrialRun) -> tuple[bool, float, float, float]:
    """A run that gives every example the same class is worth less than any other that did not diverge."""
    if not math.isfinite(run.score):
        return False, -math.inf, -math.inf, -run.rate
    return not run.one_class, run.score, -run.loss, -run.rate


def _mean_worth(runs: Sequence[TrialRun]) -> tuple[float, ...]:
    return tuple(map(fmean, zip(*map(_worth, runs), strict=True)))


def _tidy(rate: float) -> float:
    """A rate as a person would write it, so that a search up and down meets its own steps."""
    return float(f"{rate:.3g}")
