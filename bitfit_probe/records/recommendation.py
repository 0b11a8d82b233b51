"""Which method to take, what speaks for and against it, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bitfit_probe.records.distance import Distance
from bitfit_probe.records.evidence import Evidence
from bitfit_probe.records.findings import Check

__all__ = [
    "METHODS",
    "Advice",
    "Answer",
    "Basis",
    "Cost",
    "Expected",
    "LoraAdvice",
    "Recommendation",
    "Recommended",
    "Trial",
    "TrialResult",
    "TrialRun",
]

Answer = Literal["bitfit", "lora", "full", "undecided"]

#: What is chosen between, cheapest first, and how each is called.
METHODS: Mapping[str, str] = {"bitfit": "BitFit", "lora": "LoRA", "full": "full fine-tuning"}

#: Where an expected gap comes from: short runs on the user's own data, a task like those that were run,
#: between such tasks, or beyond them.
Basis = Literal["trial", "measured", "interpolated", "out of range"]


@dataclass(frozen=True)
class Expected:
    """What a method is expected to lose against the best of BitFit, LoRA and full.

    Attributes
    ----------
    method
        ``bitfit``, ``lora`` or ``full``.
    gap
        Points (of accuracy; of R² for a regression) below the best method; 0 is as good as the best.
    interval
        80 % interval of the gap, points.
    basis
        Where it comes from.
    """

    method: str
    gap: float
    interval: tuple[float, float]
    basis: Basis


@dataclass(frozen=True)
class Cost:
    """What a method costs on this model.

    Attributes
    ----------
    method
        ``bitfit``, ``lora`` or ``full``.
    trainable
        Parameters that are trained, the head among them.
    optimizer_bytes
        Two float32 moments and a float32 gradient of each trained parameter (AdamW).
    checkpoint_bytes
        What has to be kept for a task: the trained parameters, in float32.
    """

    method: str
    trainable: int
    optimizer_bytes: int
    checkpoint_bytes: int

    def stored(self, tasks: int) -> int:
        """Bytes kept for so many tasks on one base."""
        return tasks * self.checkpoint_bytes


@dataclass(frozen=True)
class LoraAdvice:
    """A rank and the modules to adapt.

    Attributes
    ----------
    rank
        LoRA's r.
    targets
        Names of modules as peft takes them.
    why
        Where both come from, in a sentence.
    """

    rank: int
    targets: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Advice:
    """How to do what is advised.

    Attributes
    ----------
    method
        ``bitfit``, ``lora`` or ``full``: the advised one, or the one to begin with where it is undecided.
    learning_rate
        Lowest and highest peak rate to try.
    roles
        With BitFit: the roles that carry most of the reach, which alone may do.
    lora
        With LoRA.
    command
        The exact ``bitfit-probe tune`` command.
    snippet
        The same with peft and transformers.
    warnings
        What the method puts at risk (full: forgetting), and what of the model is not known.
    """

    method: str
    learning_rate: tuple[float, float]
    command: str
    snippet: str
    roles: tuple[str, ...] = ()
    lora: LoraAdvice | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recommendation:
    """The cheapest method within a margin of the best, or undecided.

    Attributes
    ----------
    method
        The answer.
    calibrated
        Whether the rule behind it did what it must on held-out tasks (docs/validation.md), and the task is
        like those. False where a trial decides: how often trials are right has not been measured.
    margin
        Points that a cheaper method may lose.
    expected
        One a method that this model can be trained by, cheapest first.
    because, against, would_change
        Sentences: the evidence for the answer, that against it, and what would change it.
    first
        What to try before changing the method, because findings explain the disappointment.
    advice
        How to do it.
    costs
        One a method.
    """

    method: Answer
    calibrated: bool
    margin: float
    expected: tuple[Expected, ...]
    because: tuple[str, ...]
    against: tuple[str, ...]
    would_change: tuple[str, ...]
    advice: Advice
    costs: tuple[Cost, ...]
    first: tuple[str, ...] = ()

    def of(self, method: str) -> Expected | None:
        """What is expected of `method`."""
        return next((item for item in self.expected if item.method == method), None)


@dataclass(frozen=True)
class TrialRun:
    """One short run of a trial.

    Attributes
    ----------
    method, rate
        What was trained, at which peak learning rate.
    size, steps
        Training examples and optimizer steps.
    score, loss
        On the examples held out: accuracy (regression: R²) and mean loss; both NaN where the run diverged.
    seconds
        What it took.
    """

    method: str
    rate: float
    size: int
    steps: int
    score: float
    loss: float
    seconds: float


@dataclass(frozen=True)
class TrialResult:
    """What a trial says about one method, at its best rate.

    Attributes
    ----------
    method, rate
        The method and the best rate tried.
    score, interval
        Held-out score with the most training examples, and its 80 % bootstrap interval.
    gap, gap_interval
        Points below the best method on the same examples, with the paired 80 % bootstrap interval.
    extrapolated
        Score that the learning curve foresees with all examples of the data; None where there is no curve.
    at_edge
        Whether the best rate was the lowest or highest that was tried.
    """

    method: str
    rate: float
    score: float
    interval: tuple[float, float]
    gap: float
    gap_interval: tuple[float, float]
    extrapolated: float | None
    at_edge: bool


@dataclass(frozen=True)
class Trial:
    """Short runs of the candidates on the user's data.

    Attributes
    ----------
    minutes
        The budget.
    seconds
        What was spent.
    trained_on, held_out
        The most examples that were trained on, and those that judged.
    runs
        Every run, in the order in which they were made.
    results
        One a method that was finished.
    enough
        Whether the budget sufficed: every candidate did better than a guess, with its best rate inside the
        sweep and with all training examples.
    notes
        What it was too small for.
    """

    minutes: float
    seconds: float
    trained_on: int
    held_out: int
    runs: tuple[TrialRun, ...]
    results: tuple[TrialResult, ...]
    enough: bool
    notes: tuple[str, ...] = ()

    def of(self, method: str) -> TrialResult | None:
        """What it says about `method`."""
        return next((item for item in self.results if item.method == method), None)


@dataclass(frozen=True)
class Recommended:
    """A recommendation with everything behind it.

    Attributes
    ----------
    recommendation
        The answer.
    distance
        What was measured of the task before training.
    evidence
        What the answer rests on beside `distance`: biases, trained checkpoints, findings.
    trial
        Short runs, where they were asked for.
    check
        Findings about the tuned checkpoints, where some were given.
    """

    recommendation: Recommendation
    distance: Distance
    evidence: tuple[Evidence, ...] = ()
    trial: Trial | None = None
    check: Check | None = None
