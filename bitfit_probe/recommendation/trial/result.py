"""What the runs of a trial come to: results, whether they are enough, and what they were too few for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.recommendation.trial.bench import Bench
from bitfit_probe.recommendation.trial.curve import fit_curve
from bitfit_probe.recommendation.trial.plan import Plan
from bitfit_probe.recommendation.trial.run import Finished, Step
from bitfit_probe.records.recommendation import TrialResult, TrialRun
from bitfit_probe.task_distance.intervals import bootstrap_mean
from bitfit_probe.tuning.search import beyond

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["Outcome", "interval_of", "paired_gap"]

_LEVEL = 0.8
#: An interval of the score that reaches further than this to either side is worth a note: a convention, the
#: usual margin between methods.
_POINTS_WORTH_A_NOTE = 1.0


@dataclass(frozen=True)
class Outcome:
    """A trial's runs, read.

    Attributes
    ----------
    bench, plan
        What was trained on, and what was meant to be run.
    finished
        What was run.
    not_begun
        The run that did not fit into the budget any more.
    """

    bench: Bench
    plan: Plan
    finished: Sequence[Finished]
    not_begun: Step | None

    @cached_property
    def results(self) -> tuple[TrialResult, ...]:
        """One a method that has a run, all from the largest number of examples that all have in common."""
        if not self._compared:
            return ()
        best = max(self._compared.values(), key=lambda item: item.run.score)
        return tuple(self._result(item, best) for item in self._compared.values())

    @property
    def enough(self) -> bool:
        """Whether each method learned, its best rate inside those tried, from all there is to train on."""
        found = [item.method for item in self.results if not item.at_edge and item.score > self.plan.chance]
        return found == list(self.plan.methods) and self._level == self.plan.sizes[0]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the trial was too small for."""
        return (*self._on_methods(), *self._on_examples())

    @cached_property
    def _best(self) -> dict[str, TrialRun]:
        """The best run of each method's sweep, of those that did not diverge."""
        found = {method: self.plan.best(self._runs, method) for method in self.plan.methods}
        return {method: run for method, run in found.items() if run and math.isfinite(run.score)}

    @cached_property
    def _level(self) -> int:
        """The most examples that every method was trained on at its best rate."""
        return next(
            size for size in self.plan.sizes if all(self._at(run, size) for run in self._best.values())
        )

    @cached_property
    def _compared(self) -> dict[str, Finished]:
        found = {method: self._at(run, self._level) for method, run in self._best.items()}
        return {method: item for method, item in found.items() if item is not None}

    def _at(self, run: TrialRun, size: int) -> Finished | None:
        """The run of the same method and rate on so many examples, unless it diverged."""
        wanted = Step(run.method, run.rate, size)
        return next(
            (item for item in self.finished if item.step == wanted and math.isfinite(item.run.score)), None
        )

    @property
    def _runs(self) -> list[TrialRun]:
        return [item.run for item in self.finished]

    def _result(self, item: Finished, best: Finished) -> TrialResult:
        run, seed = item.run, self.bench.seed
        gap, around = 0.0, (0.0, 0.0)
        if item is not best:
            gap, around = paired_gap(np.array(best.values), np.array(item.values), seed)
        return TrialResult(
            method=run.method,
            rate=run.rate,
            score=run.score,
            interval=interval_of(np.array(item.values), seed),
            gap=gap,
            gap_interval=around,
            extrapolated=self._extrapolated(run),
            at_edge=beyond(self.plan.rates(self._runs, run.method), run.rate) is not None,
        )

    def _extrapolated(self, run: TrialRun) -> float | None:
        found = [self._at(run, size) for size in self.plan.sizes]
        curve = fit_curve({item.run.size: 1 - item.run.score for item in found if item is not None})
        return None if curve is None else 1 - curve.error(len(self.bench.data))

    def _on_methods(self) -> Iterator[str]:
        for method in self.plan.methods:
            rates = self.plan.rates(self._runs, method)
            if not rates:
                yield f"the budget ended before {method} was trained"
            elif method not in self._best:
                yield f"every run of {method} diverged, at rates down to {min(rates):g}"
            elif len(rates) == 1:
                yield f"the budget ended before {method} was tried at more than one rate"
        for result in self.results:
            rates = self.plan.rates(self._runs, result.method)
            if result.at_edge and len(rates) > 1:
                edge = "highest" if result.rate == max(rates) else "lowest"
                yield f"the best rate of {result.method}, {result.rate:g}, is the {edge} that was tried"
            if result.score <= self.plan.chance:
                yield f"{result.method} learned nothing: guessing gives {self.plan.chance:.3f} as well"

    def _on_examples(self) -> Iterator[str]:
        most = self.plan.sizes[0]
        if self.results and self._level < most:
            yield f"not all methods were trained on all {most} examples; they are compared on {self._level}"
        if self.not_begun is not None and self.finished:
            method, rate, size = self.not_begun
            yield f"the run that did not fit any more was {method} at {rate:g} on {size} examples"
        if self.results:
            yield from self._on_held_out()

    def _on_held_out(self) -> Iterator[str]:
        best = min(self.results, key=lambda result: result.gap)
        points = 100 * (best.interval[1] - best.interval[0]) / 2
        if points > _POINTS_WORTH_A_NOTE:
            what = "an accuracy" if self.bench.objective == "classify" else "R² × 100"
            count = len(self.bench.held_out)
            yield f"{count} held-out examples: {what} is known to ± {points:.1f} points (80 %)"


def interval_of(values: Floats, seed: int) -> tuple[float, float]:
    """80 % interval of the mean."""
    return bootstrap_mean(values, seed=seed, level=_LEVEL)[1]


def paired_gap(best: Floats, other: Floats, seed: int) -> tuple[float, tuple[float, float]]:
    """Points by which `other` is below `best` on the same examples, and the 80 % interval.

    >>> paired_gap(np.array([1.0, 1.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0, 1.0]), 0)[0]
    25.0
    """
    gap, (low, high) = bootstrap_mean(best - other, seed=seed, level=_LEVEL)
    if not np.any(best - other):  # by the rule of three they may still differ, either way
        low = -high
    return 100 * gap, (100 * low, 100 * high)
