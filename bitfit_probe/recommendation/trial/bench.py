"""The bench of a trial: short trainings through the parts of `tune`, judged on the examples held out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.data import TaskData
from bitfit_probe.inference import longest_text, padding_tokenizer, running
from bitfit_probe.outputs import scratch_folder
from bitfit_probe.recommendation.trial.folds import FOLDS, MOST_EXAMPLES, Fold, folds_of
from bitfit_probe.recommendation.trial.run import Finished, Pace, Step
from bitfit_probe.recommendation.trial.scores import of_classes, of_quantities
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
    """Base and examples of a trial, in folds that all methods share.

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

    def __post_init__(self) -> None:
        self.tokenizer = padding_tokenizer(self.base.folder)
        asked: Objective = "regress" if self.data.task == "regression" else "classify"
        self.objective = objective_for(self.data, self.base, self.tokenizer, asked)
        self.examples = self.data.sample(MOST_EXAMPLES, self.seed)
        self.labels = np.asarray(self.examples.labels)
        self.folds = folds_of(self.examples, self.seed)

    @property
    def chance(self) -> float:
        """The score of the most frequent class, or of the mean."""
        if self.objective == "regress":
            return 0.0
        return float(np.bincount(self.labels).max() / len(self.labels))

    def fingerprint(self) -> dict[str, Any]:
        """What two trials must have in common to share runs."""
        return {
            "base": digest_of(self.base),
            "data": examples_sha256(self.data),
            "seed": self.seed,
            "rank": self.rank,
            "shape": [_LEAST_STEPS, _LEAST_PASSES, _BATCH, FOLDS, MOST_EXAMPLES],
        }

    def seconds(self, pace: Pace) -> float:
        """What a run is expected to take."""
        train, held_out, _ = self.folds[0]
        return pace.seconds(_steps(len(train)), len(held_out))

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
        fold = self.folds[0]
        few = fold._replace(
            train=fold.train.sample(_REHEARSED * _BATCH, self.seed),
            held_out=fold.held_out.sample(_REHEARSED_ON, self.seed),
        )
        return self._train(self._options(method, rate, passes=2), few, tick).pace

    def perform(self, step: Step, tick: Callable[[], None]) -> Finished:
        """Train and judge."""
        fold = self.folds[step.fold]
        size = len(fold.train)
        trained = self._train(self._options(step.method, step.rate, _passes(size)), fold, tick)
        values, loss, one_class = self._judge(trained.predictions, fold)
        run = TrialRun(
            *step, size, _steps(size), float(values.mean()), loss, trained.seconds, one_class=one_class
        )
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

    def _train(self, options: TuneOptions, fold: Fold, tick: Callable[[], None]) -> _Trained:
        stamps: list[float] = []

        def on_step(done: int, total: int) -> None:
            stamps.append(self.clock())
            tick()

        start = self.clock()
        built = build(self.base, self.data, self.objective, options)
        built.model.config.pad_token_id = self.tokenizer.pad_token_id
        longest = longest_text(built.model, self.tokenizer, options.max_length)
        task = Task.of(fold.train, None, self.objective, self.tokenizer, options, longest)
        rows = encode(fold.held_out, self.tokenizer, self.objective, longest).rows
        with scratch_folder() as scratch:
            trainer = make_trainer(built, task, options, scratch, progress=on_step, keep=False)
            with running(built.model):
                trainer.train()
                trained = self.clock()
                # Grouped by length, examples would be judged in an order of the Trainer's own.
                trainer.args.train_sampling_strategy = "sequential"
                predictions = np.asarray(trainer.predict(rows).predictions, np.float64)
        end = self.clock()
        judging = (end - trained) / len(rows)
        pace = _pace(stamps, options.passes(len(fold.train)), judging, end - start, len(rows))
        return _Trained(predictions, pace, end - start)

    def _judge(self, predictions: Floats, fold: Fold) -> tuple[Floats, float, bool]:
        """What each held-out example adds to the score, the mean loss, and whether all got one class.

        After divergence the numbers are NaN.
        """
        labels = np.asarray(fold.held_out.labels)
        if not np.isfinite(predictions).all():
            return np.full(len(labels), math.nan), math.nan, False
        if self.objective == "regress":
            return *of_quantities(predictions, labels), False
        return *of_classes(predictions, labels), len(np.unique(predictions.argmax(1))) == 1


def _passes(size: int) -> int:
    return enough_passes(size, _BATCH, _LEAST_STEPS, _LEAST_PASSES)


def _steps(size: int) -> int:
    return _passes(size) * math.ceil(size / _BATCH)


def _pace(stamps: list[float], passes: int, example: float, whole: float, judged: int) -> Pace:
    """The pace of a run from when its steps ended; the first pass warms up."""
    first = len(stamps) // passes
    timed = stamps[first - 1 :]
    step = (timed[-1] - timed[0]) / (len(timed) - 1)
    return Pace(max(0.0, whole - step * len(stamps) - example * judged), step, example)
