"""The bench of a trial: short trainings through the parts of `tune`, judged on the examples held out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.data import TaskData
from bitfit_probe.inference import longest_text, padding_tokenizer, running
from bitfit_probe.outputs import scratch_folder
from bitfit_probe.recommendation.trial.run import Finished, Pace, Step
from bitfit_probe.recommendation.trial.scores import of_classes, of_quantities
from bitfit_probe.recommendation.trial.sizes import HELD_OUT, MOST_HELD_OUT, held_out_of, parts_of
from bitfit_probe.records.recommendation import TrialRun
from bitfit_probe.tuning.build import build, objective_for
from bitfit_probe.tuning.encode import encode
from bitfit_probe.tuning.fingerprint import digest_of, examples_sha256
from bitfit_probe.tuning.options import ENOUGH_STEPS, Method, Objective, TuneOptions, enough_passes
from bitfit_probe.tuning.train import Task, make_trainer

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["Bench"]

#: The shape of a run is the same for all methods: as many passes as give steps enough, at least five (a
#: convention), on batches that fit a laptop.
_LEAST_STEPS = ENOUGH_STEPS
_LEAST_PASSES = 5
_BATCH = 16
#: Batches and held-out examples by which a method's speed is measured.
_REHEARSED = 3
_REHEARSED_ON = 64


class _Trained(NamedTuple):
    predictions: Floats
    pace: Pace
    seconds: float


@dataclass
class Bench:
    """Base and examples of a trial: runs share the held-out ones, and small training sets lie in large.

    Attributes
    ----------
    base, data, rank, seed
        As the trial was given them.
    clock
        Gives the time in seconds.
    """

    base: Checkpoint
    data: TaskData
    rank: int
    seed: int
    clock: Callable[[], float]
    _rows: dict[int, list[dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tokenizer = padding_tokenizer(self.base.folder)
        asked: Objective = "regress" if self.data.task == "regression" else "classify"
        self.objective = objective_for(self.data, self.base, self.tokenizer, asked)
        self.train, self.held_out = held_out_of(self.data, self.seed)
        self.parts = parts_of(self.train, self.seed)

    @property
    def chance(self) -> float:
        """The held-out score of the most frequent class, or of the mean."""
        if self.objective == "regress":
            return 0.0
        guess = np.bincount(np.asarray(self.train.labels)).argmax()
        return float(np.mean(np.asarray(self.held_out.labels) == guess))

    def fingerprint(self) -> dict[str, Any]:
        """What two trials must have in common to share runs."""
        return {
            "base": digest_of(self.base),
            "data": examples_sha256(self.data),
            "seed": self.seed,
            "rank": self.rank,
            "shape": [_LEAST_STEPS, _LEAST_PASSES, _BATCH, HELD_OUT, MOST_HELD_OUT],
        }

    def steps(self, size: int) -> int:
        """Optimizer steps of a run on so many examples."""
        return _passes(size) * math.ceil(size / _BATCH)

    def rehearse(self, method: str, rate: float, tick: Callable[[], None]) -> Pace:
        """Train for a few steps only to see how long they take.

        Parameters
        ----------
        tick
            Called after every step; what it raises ends the rehearsal.

        Raises
        ------
        NoBiasesError
            BitFit of a model without biases.
        """
        few = self.train.sample(_REHEARSED * _BATCH, self.seed)
        options = self._options(method, rate, passes=2)
        return self._train(options, few, min(len(self.held_out), _REHEARSED_ON), tick).pace

    def perform(self, step: Step, tick: Callable[[], None]) -> Finished:
        """Train and judge."""
        options = self._options(step.method, step.rate, _passes(step.size))
        trained = self._train(options, self.parts[step.size], len(self.held_out), tick)
        values, loss = self._judge(trained.predictions)
        score = float(values.mean())
        steps = self.steps(step.size)
        run = TrialRun(step.method, step.rate, step.size, steps, score, loss, trained.seconds)
        return Finished(run, tuple(values.tolist()), trained.pace)

    def _options(self, method: str, rate: float, passes: int) -> TuneOptions:
        return TuneOptions(
            method=cast("Method", method),
            learning_rate=rate,
            epochs=passes,
            batch_size=_BATCH,
            eval_split=0.0,
            lora_r=self.rank,
            seed=self.seed,
        )

    def _train(
        self, options: TuneOptions, train: TaskData, judged: int, tick: Callable[[], None]
    ) -> _Trained:
        stamps: list[float] = []

        def on_step(done: int, total: int) -> None:
            stamps.append(self.clock())
            tick()

        start = self.clock()
        built = build(self.base, self.data, self.objective, options)
        built.model.config.pad_token_id = self.tokenizer.pad_token_id
        longest = longest_text(built.model, self.tokenizer, options.max_length)
        task = Task.of(train, None, self.objective, self.tokenizer, options, longest)
        rows = self._held_out_rows(longest)[:judged]
        with scratch_folder() as scratch:
            trainer = make_trainer(built, task, options, scratch, progress=on_step, keep=False)
            with running(built.model):
                trainer.train()
                trained = self.clock()
                # Grouped by length, examples would be judged in an order of the Trainer's own.
                trainer.args.train_sampling_strategy = "sequential"
                predictions = np.asarray(trainer.predict(rows).predictions, np.float64)
        end = self.clock()
        pace = _pace(stamps, options.passes(len(train)), (end - trained) / judged, end - start, judged)
        return _Trained(predictions, pace, end - start)

    def _held_out_rows(self, longest: int) -> list[dict[str, Any]]:
        if longest not in self._rows:
            self._rows[longest] = encode(self.held_out, self.tokenizer, self.objective, longest).rows
        return self._rows[longest]

    def _judge(self, predictions: Floats) -> tuple[Floats, float]:
        """What each held-out example adds to the score, and the mean loss; both NaN after divergence."""
        labels = np.asarray(self.held_out.labels)
        if not np.isfinite(predictions).all():
            return np.full(len(labels), math.nan), math.nan
        judge = of_quantities if self.objective == "regress" else of_classes
        return judge(predictions, labels)


def _passes(size: int) -> int:
    return enough_passes(size, _BATCH, _LEAST_STEPS, _LEAST_PASSES)


def _pace(stamps: list[float], passes: int, example: float, whole: float, judged: int) -> Pace:
    """The pace of a run from when its steps ended; the first pass warms up."""
    first = len(stamps) // passes
    timed = stamps[first - 1 :]
    step = (timed[-1] - timed[0]) / (len(timed) - 1)
    return Pace(max(0.0, whole - step * len(stamps) - example * judged), step, example)
