"""A trial: run after run of each method, until its plan or its budget ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.data import TaskData
from bitfit_probe.errors import NoBiasesError, SettingsError
from bitfit_probe.inference import quietly
from bitfit_probe.recommendation.trial.bench import Bench
from bitfit_probe.recommendation.trial.budget import Budget, OutOfTime, Progress
from bitfit_probe.recommendation.trial.journal import Journal
from bitfit_probe.recommendation.trial.plan import Plan, middle_rate, sweep_size
from bitfit_probe.recommendation.trial.result import Outcome
from bitfit_probe.recommendation.trial.run import Finished, Pace, Step
from bitfit_probe.records.options import TrialOptions
from bitfit_probe.records.recommendation import METHODS, Trial, TrialRun

__all__ = ["run_trial"]

#: A run is begun where this many times its expected time is left.
_CAUTION = 1.1


def run_trial(
    model: str | Path,
    data: TaskData,
    options: TrialOptions,
    *,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Trial:
    """Train `model` briefly by each method, and compare them on the same held-out examples.

    A quarter of the examples is held out. Every method is tried at three learning rates, and further ones
    where the best is at the edge; then the best rate is trained on other numbers of examples, for a learning
    curve. A run has the same passes whatever the method. No run begins that is not expected to end within
    the budget; one that takes longer than expected is finished all the same. The rate is chosen by the
    held-out examples that also judge, so all scores are a little high, by about as much for each method.

    Parameters
    ----------
    model
        Model directory with its tokenizer.
    data
        Labelled examples: classes or quantities.
    options
        The budget, and what is tried.
    progress
        Told, after every step, of the seconds done and the budget.
    clock
        Gives the time in seconds.

    Returns
    -------
    Trial

    Raises
    ------
    NoBiasesError
        ``bitfit`` was asked for by name, and the model has no biases.
    BitfitProbeError
        The model or the data can't be used, or nothing can be written to ``work_dir``.
    """
    budget = Budget(options.minutes, clock, progress)
    chosen = _chosen(options.methods)
    with quietly():
        bench = Bench(open_checkpoint(model), data, options.lora_r, options.seed, clock)
        work = options.work_dir
        journal = None if work is None else Journal(Path(work), bench.fingerprint())
        done = _Session(bench, budget, list(chosen), options.methods is not None, journal).go()
    bench.base.check_unchanged()
    return done


def _chosen(methods: Sequence[str] | None) -> tuple[str, ...]:
    for method in methods or ():
        if method not in METHODS:
            raise SettingsError(f"{method!r} can't be tried", advice=f"choose among {', '.join(METHODS)}")
    chosen = tuple(method for method in METHODS if methods is None or method in methods)
    if not chosen:
        raise SettingsError("no method was named", advice=f"choose among {', '.join(METHODS)}")
    return chosen


@dataclass
class _Session:
    """A trial under way."""

    bench: Bench
    budget: Budget
    methods: list[str]
    by_name: bool
    journal: Journal | None
    finished: list[Finished] = field(default_factory=list)
    paces: dict[str, Pace] = field(default_factory=dict)

    def go(self) -> Trial:
        """Run what fits, and say what came out."""
        if self.journal is not None:
            self.finished = [item for item in self.journal.finished() if item.run.method in self.methods]
        self.paces = {item.run.method: item.pace for item in self.finished}
        before = sum(item.run.seconds for item in self.finished)
        plan, not_begun = self._train()
        outcome = Outcome(self.bench, plan, self.finished, not_begun)
        return Trial(
            minutes=self.budget.minutes,
            seconds=before + self.budget.spent,
            trained_on=max((run.size for run in self._runs), default=0),
            held_out=len(self.bench.held_out),
            runs=tuple(self._runs),
            results=outcome.results,
            enough=outcome.enough,
            notes=outcome.notes,
        )

    def _train(self) -> tuple[Plan, Step | None]:
        """Run after run until plan or budget end; the plan, and the run that did not fit any more."""
        try:
            self._measure_paces()
        except OutOfTime:
            plan = self._plan(max(self.bench.parts))
            return plan, plan.next(self._runs)
        plan = self._plan(sweep_size(list(self.bench.parts), self._round, self.budget.left))
        while (step := plan.next(self._runs)) is not None:
            if self.budget.left < _CAUTION * self._expected(step.method, step.size):
                return plan, step
            self._keep(self.bench.perform(step, self.budget.tick))
        return plan, None

    def _measure_paces(self) -> None:
        """See how fast each method is, and which the model can't be trained by."""
        for method in list(self.methods):
            if method in self.paces:
                continue
            try:
                rehearsed = self.bench.rehearse(method, middle_rate(method), self.budget.tick_or_stop)
            except NoBiasesError:
                if self.by_name:
                    raise
                self.methods.remove(method)
            else:
                self.paces[method] = rehearsed

    def _plan(self, sweep: int) -> Plan:
        """The plan with this size of the sweep, unless an interrupted trial has begun one at another."""
        sweep = self.finished[0].run.size if self.finished else sweep
        return Plan(tuple(self.methods), tuple(self.bench.parts), sweep, self.bench.chance)

    def _keep(self, done: Finished) -> None:
        self.finished.append(done)
        self.paces[done.run.method] = done.pace
        if self.journal is not None:
            self.journal.append(done)

    def _expected(self, method: str, size: int) -> float:
        return self.paces[method].seconds(self.bench.steps(size), len(self.bench.held_out))

    def _round(self, size: int) -> float:
        """Seconds that one run of every method takes."""
        return sum(self._expected(method, size) for method in self.methods)

    @property
    def _runs(self) -> list[TrialRun]:
        return [item.run for item in self.finished]
