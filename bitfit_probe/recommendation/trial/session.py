"""A trial: run after run of each method, until its plan or its budget ends."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.data import TaskData
from bitfit_probe.errors import NoBiasesError, SettingsError
from bitfit_probe.inference import quietly
from bitfit_probe.recommendation.trial.bench import Bench
from bitfit_probe.recommendation.trial.budget import Budget, OutOfTime, Progress
from bitfit_probe.recommendation.trial.journal import Journal
from bitfit_probe.recommendation.trial.plan import Plan, middle_rate
from bitfit_probe.recommendation.trial.result import Outcome
from bitfit_probe.recommendation.trial.run import Finished, Pace
from bitfit_probe.records.options import TrialOptions
from bitfit_probe.records.recommendation import METHODS, Trial, TrialRun

__all__ = ["Session", "run_trial"]

#: Full fine-tuning stores some fifty times LoRA's parameters and gains less than a point
#: (docs/validation.md): it is tried where a tenfold saving is worth less than half a point.
FULL_BELOW = 0.5
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
    """Train `model` briefly by each method, and compare them on examples that were held out.

    Four folds, the same for all methods. Every method is tried on the first at three learning rates, and
    further ones where the best is at the edge; then the best two go to the other folds, so that every
    example is held out once. A run has the same passes whatever the method. No run begins that is not
    expected to end within the budget; one that takes longer than expected is finished all the same. The rate
    is chosen by the held-out examples that also judge, so all scores are a little high, by about as much for
    each method.

    Parameters
    ----------
    model
        Model directory with its tokenizer.
    data
        Labelled examples: classes or quantities.
    options
        The budget, and what is tried.
    progress
        Told, after every step, what is being done, of the seconds done, and of those that are expected.
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
    chosen = _chosen(options)
    with quietly():
        bench = Bench(open_checkpoint(model), data, options.lora_r, options.seed, clock)
        work = options.work_dir
        journal = None if work is None else Journal(Path(work), bench.fingerprint())
        done = Session(bench, budget, list(chosen), options.methods is not None, journal).go()
    bench.base.check_unchanged()
    return done


def _chosen(options: TrialOptions) -> tuple[str, ...]:
    for method in options.methods or ():
        if method not in METHODS:
            raise SettingsError(f"{method!r} can't be tried", advice=f"choose among {', '.join(METHODS)}")
    wanted = options.methods
    if wanted is None:
        wanted = ("bitfit", "lora", "full") if options.price < FULL_BELOW else ("bitfit", "lora")
    chosen = tuple(method for method in METHODS if method in wanted)
    if not chosen:
        raise SettingsError("no method was named", advice=f"choose among {', '.join(METHODS)}")
    return chosen


@dataclass
class Session:
    """A trial under way.

    Attributes
    ----------
    bench, budget, journal
        Where it is run, in how much time, and where runs are kept.
    methods
        What is tried; those that the model can't be trained by leave it.
    by_name
        Whether they were asked for by name, so that one which can't be had is an error.
    finished, paces
        Runs, and the speed of each method.
    """

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
        plan = Plan(self.methods, self.bench.chance)
        with contextlib.suppress(OutOfTime):
            self._measure_paces()
            self._train(plan)
        outcome = Outcome(self.bench, plan, self.finished)
        spent = before + self.budget.spent
        return Trial(
            minutes=self.budget.minutes,
            seconds=spent,
            needed=spent + self._missing(plan),
            trained_on=max((run.size for run in self._runs), default=0),
            held_out=len(outcome.places),
            runs=tuple(self._runs),
            results=outcome.results,
            enough=outcome.enough,
            notes=outcome.notes,
        )

    def _train(self, plan: Plan) -> None:
        """Run after run until plan or budget end."""
        while (step := plan.next(self._runs)) is not None:
            if self.budget.left < _CAUTION * self.bench.seconds(self.paces[step.method]):
                return
            doing = f"{step.method} at {step.rate:g}, fold {step.fold + 1}"
            self.budget.begin(doing, self.budget.spent + self._missing(plan))
            self._keep(self.bench.perform(step, self.budget.tick))

    def _missing(self, plan: Plan) -> float:
        """Seconds that what is missing of the plan is expected to take."""
        left = plan.left(self._runs)
        return sum(
            count * self.bench.seconds(self.paces[method])
            for method, count in left.items()
            if method in self.paces
        )

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

    def _keep(self, done: Finished) -> None:
        self.finished.append(done)
        self.paces[done.run.method] = done.pace
        if self.journal is not None:
            self.journal.append(done)

    @property
    def _runs(self) -> list[TrialRun]:
        return [item.run for item in self.finished]
