"""Which run of a trial comes next: cheapest information first, methods in turn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bitfit_probe.recommendation.trial.run import Step
from bitfit_probe.records.recommendation import TrialRun
from bitfit_probe.tuning.options import LEARNING_RATES
from bitfit_probe.tuning.search import EXTRA, beyond, first_rates

__all__ = ["Plan", "curve_sizes", "middle_rate", "sweep_size"]

#: Rates of a method that a sweep is expected to need: three, and one outside.
_EXPECTED_RATES = 4
#: Where not all sizes can be had, the sweep gets this share of the budget, and the rest goes to larger sizes.
_SWEEP_SHARE = 0.5


@dataclass(frozen=True)
class Plan:
    """A sweep of learning rates at one size, then the best rate at the others.

    Attributes
    ----------
    methods
        What is compared.
    sizes
        Numbers of training examples, largest first.
    sweep
        The one among them at which rates are compared.
    chance
        The score of a guess that does not look at the text.
    """

    methods: Sequence[str]
    sizes: Sequence[int]
    sweep: int
    chance: float

    def next(self, runs: Sequence[TrialRun]) -> Step | None:
        """The first run that is missing; None where nothing is left to do."""
        done = {Step.of(run) for run in runs}
        return next((step for step in self._wanted(runs) if step not in done), None)

    def _wanted(self, runs: Sequence[TrialRun]) -> Iterator[Step]:
        for place in (1, 2, 0):  # the middle rate, then the higher: short runs want it more often
            for method in self.methods:
                yield Step(method, _tidy(first_rates(LEARNING_RATES[method])[place]), self.sweep)
        yield from self._outside(runs)
        for size in curve_sizes(self.sizes, self.sweep):
            for method in self.methods:
                best = self.best(runs, method)
                if best is not None and math.isfinite(best.score):
                    yield Step(method, best.rate, size)

    def _outside(self, runs: Sequence[TrialRun]) -> list[Step]:
        """Rates beyond those tried, of the methods whose best is at the edge; fewest tried first."""
        steps = []
        for method in self.methods:
            tried = self.rates(runs, method)
            outside = self._beyond(runs, method, tried)
            if outside is not None and len(tried) < 3 + EXTRA:
                steps.append((len(tried), Step(method, _tidy(outside), self.sweep)))
        return [step for _, step in sorted(steps, key=lambda item: item[0])]

    def _beyond(self, runs: Sequence[TrialRun], method: str, tried: Sequence[float]) -> float | None:
        best = self.best(runs, method)
        if best is None:
            return None
        # Where no rate has taught anything yet, which of them is best says nothing: they were too low.
        return beyond(tried, max(tried) if best.score <= self.chance else best.rate)

    def best(self, runs: Sequence[TrialRun], method: str) -> TrialRun | None:
        """The run of the sweep with the highest score, of equal ones that with the lowest loss.

        Where all diverged it is the one at the lowest rate.
        """
        swept = [run for run in runs if (run.method, run.size) == (method, self.sweep)]
        return max(swept, key=_worth, default=None)

    def rates(self, runs: Sequence[TrialRun], method: str) -> list[float]:
        """The rates that the sweep tried."""
        return [run.rate for run in runs if (run.method, run.size) == (method, self.sweep)]


def middle_rate(method: str) -> float:
    """The rate that a method is tried at first."""
    return _tidy(LEARNING_RATES[method])


def curve_sizes(sizes: Sequence[int], sweep: int) -> list[int]:
    """Sizes of the learning curve beside the sweep's, smallest first: the largest three, and those above it.

    >>> curve_sizes([800, 400, 200, 100], 800), curve_sizes([800, 400, 200, 100], 100)
    ([200, 400], [200, 400, 800])
    """
    return [size for size in reversed(sizes) if (size in sizes[:3] or size > sweep) and size != sweep]


def sweep_size(sizes: Sequence[int], cost: Callable[[int], float], left: float) -> int:
    """The size at which rates are compared.

    Parameters
    ----------
    sizes
        Those to choose from, largest first.
    cost
        Seconds that one run of every method takes at a size.
    left
        Seconds of budget.

    Returns
    -------
    int
        The largest at which the sweep and the whole curve fit; else the largest whose sweep leaves half of
        the budget; else the cheapest (of equally cheap ones the largest: small sizes cost the same steps).
    """
    sweeps = {size: _EXPECTED_RATES * cost(size) for size in sizes}
    whole = [size for size in sizes if sweeps[size] + sum(map(cost, curve_sizes(sizes, size))) <= left]
    fitting = whole or [size for size in sizes if sweeps[size] <= _SWEEP_SHARE * left]
    return fitting[0] if fitting else min(sizes, key=lambda size: (cost(size), -size))


def _worth(run: TrialRun) -> tuple[float, float, float]:
    if not math.isfinite(run.score):
        return -math.inf, -math.inf, -run.rate
    return run.score, -run.loss, -run.rate


def _tidy(rate: float) -> float:
    """A rate as a person would write it, so that a search up and down meets its own steps."""
    return float(f"{rate:.3g}")
