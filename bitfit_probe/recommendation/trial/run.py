"""What a run of a trial is, how fast it goes, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from bitfit_probe.records.recommendation import TrialRun

__all__ = ["Finished", "Pace", "Step"]


class Step(NamedTuple):
    """A run by what it is: a method, a peak learning rate and the fold that judges."""

    method: str
    rate: float
    fold: int

    @classmethod
    def of(cls, run: TrialRun) -> Step:
        """The step that a run was."""
        return cls(run.method, run.rate, run.fold)


class Pace(NamedTuple):
    """Seconds that a method takes: before and after training, a step, and to judge an example."""

    fixed: float
    step: float
    example: float

    def seconds(self, steps: int, judged: int) -> float:
        """What a run is expected to take."""
        return self.fixed + self.step * steps + self.example * judged


@dataclass(frozen=True)
class Finished:
    """A run, and what it came to on each held-out example; the score is the mean of `values`."""

    run: TrialRun
    values: tuple[float, ...]
    pace: Pace

    @property
    def step(self) -> Step:
        """Which run it was."""
        return Step.of(self.run)
