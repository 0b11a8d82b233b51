"""One run of a trial: a short training through the parts of `tune`, judged on the examples held out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.data import TaskData
from bitfit_probe.errors import DataError
from bitfit_probe.inference import longest_text, padding_tokenizer, running
from bitfit_probe.outputs import scratch_folder
from bitfit_probe.records.recommendation import TrialRun
from bitfit_probe.tuning.build import build, objective_for
from bitfit_probe.tuning.encode import encode, split
from bitfit_probe.tuning.fingerprint import digest_of, examples_sha256
from bitfit_probe.tuning.settings import ENOUGH_STEPS, Method, Objective, Settings, enough_passes
from bitfit_probe.tuning.train import Task, make_trainer

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["Bench", "Finished", "Pace", "Step"]

#: The shape of a run is the same for all methods: as many passes as give steps enough, at least five (a
#: convention), on batches that fit a laptop.
_LEAST_STEPS = ENOUGH_STEPS
_LEAST_PASSES = 5
_BATCH = 16
#: Share held out, and the most that are: beyond 2,000 an accuracy is known to about ± 1 point (80 %).
_HELD_OUT = 0.25
_MOST_HELD_OUT = 2_000
#: A learning curve begins at no fewer examples, a batch.
_SMALLEST = 16
#: Batches and held-out examples by which a method's speed is measured.
_REHEARSED = 3
_REHEARSED_ON = 64


class Step(NamedTuple):
    """A run by what it is: a method, a peak learning rate and a number of training examples."""

    method: str
    rate: float
    size: int

    @classmethod
    def of(cls, run: TrialRun) -> Step:
        """The step that a run was."""
        return cls(run.method, run.rate, run.size)


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
        self.train, self.held_out = _split(self.data, self.seed)
        self.parts = _parts(self.train, self.seed)

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
            "shape": [_LEAST_STEPS, _LEAST_PASSES, _BATCH, _HELD_OUT, _MOST_HELD_OUT],
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
        settings = self._settings(method, rate, passes=2)
        return self._train(settings, few, min(len(self.held_out), _REHEARSED_ON), tick).pace

    def perform(self, step: Step, tick: Callable[[], None]) -> Finished:
        """Train and judge."""
        settings = self._settings(step.method, step.rate, _passes(step.size))
        trained = self._train(settings, self.parts[step.size], len(self.held_out), tick)
        values, loss = self._judge(trained.predictions)
        score = float(values.mean())
        steps = self.steps(step.size)
        run = TrialRun(step.method, step.rate, step.size, steps, score, loss, trained.seconds)
        return Finished(run, tuple(values.tolist()), trained.pace)

    def _settings(self, method: str, rate: float, passes: int) -> Settings:
        return Settings(
            method=cast("Method", method),
            learning_rate=rate,
            epochs=passes,
            batch_size=_BATCH,
            eval_split=0.0,
            lora_r=self.rank,
            seed=self.seed,
        )

    def _train(self, settings: Settings, train: TaskData, judged: int, tick: Callable[[], None]) -> _Trained:
        stamps: list[float] = []

        def on_step(done: int, total: int) -> None:
            stamps.append(self.clock())
            tick()

        start = self.clock()
        built = build(self.base, self.data, self.objective, settings)
        built.model.config.pad_token_id = self.tokenizer.pad_token_id
        longest = longest_text(built.model, self.tokenizer, settings.max_length)
        task = Task.of(train, None, self.objective, self.tokenizer, settings, longest)
        rows = self._held_out_rows(longest)[:judged]
        with scratch_folder() as scratch:
            trainer = make_trainer(built, task, settings, scratch, progress=on_step, keep=False)
            with running(built.model):
                trainer.train()
                trained = self.clock()
                # Grouped by length, examples would be judged in an order of the Trainer's own.
                trainer.args.train_sampling_strategy = "sequential"
                predictions = np.asarray(trainer.predict(rows).predictions, np.float64)
        end = self.clock()
        pace = _pace(stamps, settings.passes(len(train)), (end - trained) / judged, end - start, judged)
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
        judge = _regression if self.objective == "regress" else _classification
        return judge(predictions, labels)


def _passes(size: int) -> int:
    return enough_passes(size, _BATCH, _LEAST_STEPS, _LEAST_PASSES)


def _split(data: TaskData, seed: int) -> tuple[TaskData, TaskData]:
    try:
        train, held_out = split(data, min(_HELD_OUT, _MOST_HELD_OUT / max(1, len(data))), seed)
    except DataError as error:
        raise DataError(error.what, advice="give more examples of each class", path=error.path) from None
    assert held_out is not None
    return train, held_out


def _parts(train: TaskData, seed: int) -> dict[int, TaskData]:
    """The training set, its half, the half of that …, each within the one before, by size, largest first.

    A class's examples are shuffled alike whatever share is taken, so smaller shares lie in larger ones.
    """
    parts = {len(train): train}
    share = 0.5
    while share * len(train) >= _SMALLEST:
        try:
            _, part = split(train, share, seed)
        except DataError:  # classes so small that nothing is left of them
            break
        if part is not None and len(part) < min(parts):
            parts[len(part)] = part
        share /= 2
    return parts


def _pace(stamps: list[float], passes: int, example: float, whole: float, judged: int) -> Pace:
    """The pace of a run from when its steps ended; the first pass warms up."""
    first = len(stamps) // passes
    timed = stamps[first - 1 :]
    step = (timed[-1] - timed[0]) / (len(timed) - 1)
    return Pace(max(0.0, whole - step * len(stamps) - example * judged), step, example)


def _classification(logits: Floats, labels: npt.NDArray[np.int64]) -> tuple[Floats, float]:
    from scipy.special import log_softmax

    losses = -log_softmax(logits, 1)[np.arange(len(labels)), labels]
    return (logits.argmax(1) == labels).astype(np.float64), float(losses.mean())


def _regression(predictions: Floats, labels: Floats) -> tuple[Floats, float]:
    """Shares of R² = 1 − Σe²/Σ(y − ȳ)², whose mean it is, and the mean squared error."""
    squares = (predictions.reshape(-1) - labels) ** 2
    spread = float(labels.var()) or 1.0
    return 1 - squares / spread, float(squares.mean())
