"""Which method to take, what speaks for and against it, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from bitfit_probe.frozen import Frozen
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
    "Priced",
    "Recommendation",
    "Recommended",
    "Trial",
    "TrialResult",
    "TrialRun",
]

Answer = Literal["bitfit", "lora", "full", "undecided"]

#: What is chosen between, cheapest first, and how each is called.
METHODS: Mapping[str, str] = {"bitfit": "BitFit", "lora": "LoRA", "full": "full fine-tuning"}

#: Where an expected gap comes from: short runs on the user's own data, runs on other tasks, or published
#: comparisons, where model or task are unlike those that were run.
Basis = Literal["trial", "runs", "out of range"]


class Expected(Frozen):
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


class Cost(Frozen):
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


class LoraAdvice(Frozen):
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


class Advice(Frozen):
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


class Priced(Frozen):
    """The method that a price of parameters speaks for.

    Attributes
    ----------
    price
        Points that a tenfold saving of stored parameters is worth.
    method
        ``bitfit``, ``lora`` or ``full``.
    """

    price: float
    method: str


class Recommendation(Frozen):
    """The method whose expected score, less the price of its parameters, is highest, or undecided.

    Attributes
    ----------
    method
        The answer. Undecided where nothing was learned in a trial: then no method is worth choosing.
    calibrated
        Whether such answers did what they must on tasks kept back (docs/validation.md), and the task is like
        those.
    price
        Points that a tenfold saving of stored parameters is worth.
    margin
        Points that BitFit may lose against LoRA, where the price was given so; else None.
    prices
        The answer for other prices.
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
    price: float
    margin: float | None
    prices: tuple[Priced, ...]
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


class TrialRun(Frozen):
    """One short run of a trial.

    Attributes
    ----------
    method, rate
        What was trained, at which peak learning rate.
    fold
        Which part of the examples was held out.
    size, steps
        Training examples and optimizer steps.
    score, loss
        On the examples held out: accuracy (regression: R²) and mean loss; both NaN where the run diverged.
    seconds
        What it took.
    one_class
        Whether it gave every example the same class.
    """

    method: str
    rate: float
    fold: int
    size: int
    steps: int
    score: float
    loss: float
    seconds: float
    one_class: bool = False


class TrialResult(Frozen):
    """What a trial says about one method, at its best rate.

    Attributes
    ----------
    method, rate
        The method and the best rate tried.
    score, interval
        Score over the examples held out, each by the fold that did not train on it, and its 80 % bootstrap
        interval.
    gap, gap_interval
        Points below the best method on the same examples as they were seen, with the paired 80 % bootstrap
        interval. What is expected of the method is less far from the others (`Expected`): some of what is
        seen is noise.
    learned
        Whether it does better than guessing: the classes' mean recall (regression: R²) lies more than two
        standard errors above it.
    at_edge
        Whether the best rate was the lowest or highest that was tried.
    """

    method: str
    rate: float
    score: float
    interval: tuple[float, float]
    gap: float
    gap_interval: tuple[float, float]
    learned: bool
    at_edge: bool


class Trial(Frozen):
    """Short runs of the candidates on the user's data.

    Attributes
    ----------
    minutes
        The budget.
    seconds, needed
        What was spent, and what the whole plan takes.
    trained_on, held_out
        Examples that a run was trained on, and those that judged the results, over all folds.
    runs
        Every run, in the order in which they were made.
    results
        One a method that was finished.
    enough
        Whether the plan was completed: all folds of every candidate, its best rate inside the sweep.
    notes
        What it was too small for.
    """

    minutes: float
    seconds: float
    needed: float
    trained_on: int
    held_out: int
    runs: tuple[TrialRun, ...]
    results: tuple[TrialResult, ...]
    enough: bool
    notes: tuple[str, ...] = ()

    def of(self, method: str) -> TrialResult | None:
        """What it says about `method`."""
        return next((item for item in self.results if item.method == method), None)


class Recommended(Frozen):
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
