"""What the runs of a trial come to: results, whether they are enough, and what they were too few for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bitfit_probe.recommendation.trial.bench import Bench
from bitfit_probe.recommendation.trial.folds import FOLDS
from bitfit_probe.recommendation.trial.plan import Plan
from bitfit_probe.recommendation.trial.run import Finished, Step
from bitfit_probe.records.recommendation import TrialResult, TrialRun
from bitfit_probe.task_distance.intervals import bootstrap_mean
from bitfit_probe.tuning.search import beyond

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["Outcome", "above_guessing", "interval_of", "paired_gap"]

_LEVEL = 0.8
#: So many standard errors above guessing are no chance.
_ERRORS = 2.0


class _Answered(NamedTuple):
    """What a method at one rate came to, over the folds that all methods have, example by example."""

    method: str
    rate: float
    values: Floats


@dataclass(frozen=True)
class Outcome:
    """A trial's runs, read.

    Attributes
    ----------
    bench, plan
        What was trained on, and what was meant to be run.
    finished
        What was run.
    """

    bench: Bench
    plan: Plan
    finished: Sequence[Finished]

    @property
    def runs(self) -> list[TrialRun]:
        """All runs."""
        return [item.run for item in self.finished]

    @cached_property
    def chosen(self) -> dict[str, float]:
        """By method: its best rate."""
        found = {method: self.plan.best(self.runs, method) for method in self.plan.methods}
        return {method: rate for method, rate in found.items() if rate is not None}

    @cached_property
    def folds(self) -> tuple[int, ...]:
        """The folds that every method has finished at its best rate."""
        done = {item.step for item in self.finished if math.isfinite(item.run.score)}
        return tuple(
            fold
            for fold in range(FOLDS)
            if self.chosen and all((method, rate, fold) in done for method, rate in self.chosen.items())
        )

    @property
    def places(self) -> list[int]:
        """Which of the examples were held out in these folds, fold by fold."""
        return [place for fold in self.folds for place in self.bench.folds[fold].places]

    @cached_property
    def results(self) -> tuple[TrialResult, ...]:
        """One a method that has a run, all over the same folds."""
        if not self.folds:
            return ()
        by_step = {item.step: item.values for item in self.finished}
        answered = [
            _Answered(
                method, rate, np.concatenate([by_step[Step(method, rate, fold)] for fold in self.folds])
            )
            for method, rate in self.chosen.items()
        ]
        best = max(answered, key=lambda item: float(item.values.mean()))
        return tuple(self._result(item, best) for item in answered)

    @property
    def enough(self) -> bool:
        """Whether the plan was completed with every best rate inside its sweep."""
        complete = self.plan.next(self.runs) is None and len(self.chosen) == len(self.plan.methods)
        return complete and not any(result.at_edge for result in self.results)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the runs were too few for."""
        return tuple(self._notes())

    def _result(self, item: _Answered, best: _Answered) -> TrialResult:
        seed = self.bench.seed
        gap, around = 0.0, (0.0, 0.0)
        if item is not best:
            gap, around = paired_gap(best.values, item.values, seed)
        labels = None if self.bench.objective == "regress" else self.bench.labels[self.places]
        return TrialResult(
            method=item.method,
            rate=item.rate,
            score=float(item.values.mean()),
            interval=interval_of(item.values, seed),
            gap=gap,
            gap_interval=around,
            learned=above_guessing(item.values, labels),
            at_edge=beyond(self.plan.rates(self.runs, item.method), item.rate) is not None,
        )

    def _notes(self) -> Iterator[str]:
        for method in self.plan.methods:
            rates = self.plan.rates(self.runs, method)
            if not rates:
                yield f"the budget ended before {method} was trained"
            elif method not in self.chosen:
                yield f"every run of {method} diverged, at rates down to {min(rates):g}"
            elif len(rates) == 1:
                yield f"the budget ended before {method} was tried at more than one rate"
        for result in self.results:
            rates = self.plan.rates(self.runs, result.method)
            if result.at_edge and len(rates) > 1:
                edge = "highest" if result.rate == max(rates) else "lowest"
                yield f"the best rate of {result.method}, {result.rate:g}, is the {edge} that was tried"
            if not result.learned:
                yield f"{result.method} learned nothing: guessing is as good"
        if self.results and len(self.folds) < FOLDS:
            yield f"the methods are compared on {len(self.folds)} of {FOLDS} folds"


def above_guessing(values: Floats, labels: npt.NDArray[np.int64] | None) -> bool:
    """Whether answers are better than a guess by more than two standard errors.

    Parameters
    ----------
    values
        1 where the class was right and 0 where not; for a regression shares of R².
    labels
        The right classes, whose mean recall is held against one over their number; None for a regression.

    Examples
    --------
    One class said of all is right on nine of ten here, and no better than guessing.

    >>> labels = np.repeat([0, 1], [90, 10])
    >>> above_guessing((labels == 0).astype(float), labels)
    False
    """
    if labels is None:
        return bool(values.mean() > _ERRORS * values.std() / len(values) ** 0.5)
    groups = [values[labels == label] for label in np.unique(labels)]
    recall = np.mean([group.mean() for group in groups])
    variance = sum(group.var() / len(group) for group in groups) / len(groups) ** 2
    return bool(recall - 1 / len(groups) > _ERRORS * variance**0.5)


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
