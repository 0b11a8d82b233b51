"""How good a tuned model is on labelled examples, and which steps would make it better."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bitfit_probe.frozen import Frozen

if TYPE_CHECKING:
    from bitfit_probe.records.findings import Finding

__all__ = [
    "Calibration",
    "Cause",
    "ClassQuality",
    "Diagnosed",
    "Diagnosis",
    "Example",
    "Intervention",
    "Measured",
    "Quality",
    "Rivals",
    "Slice",
]

Interval = tuple[float, float]


class Measured(Frozen):
    """A figure with its 95 % interval over examples; without one where nothing is drawn at random."""

    value: float
    interval: Interval | None = None


class ClassQuality(Frozen):
    """One class: how many examples are of it, how many were given it, recall and precision."""

    name: str
    examples: int
    predicted: int
    recall: float | None
    precision: float | None


class Calibration(Frozen):
    """Expected calibration error in ten bins; each bin is (confidence, accuracy, examples)."""

    error: float
    bins: tuple[tuple[float, float, int], ...]


class Quality(Frozen):
    """How good the model is, beside what anybody could have had.

    Attributes
    ----------
    measure
        ``accuracy``, ``r2``, ``spearman`` or ``loss``.
    tuned
        The measure on the examples.
    loss
        Mean loss: nats, or variances of the labels.
    uniform_loss
        Loss of answering each class alike, log(classes); None where there are no classes.
    base_probe
        The measure of a linear model on the frozen base's features, cross-fitted; of the base's own vectors
        for similarities; None for language models.
    majority, chance
        Accuracy of always answering the most frequent class, and of drawing one of all classes.
    beats_chance
        Whether the measure's interval lies above `majority` (regression: 0); None where that is not asked.
    classes, confusion
        What became of each class; rows of the confusion matrix are true classes, columns answers.
    """

    measure: Literal["accuracy", "r2", "spearman", "loss"]
    tuned: Measured
    loss: Measured
    uniform_loss: float | None
    base_probe: Measured | None
    majority: float | None
    chance: float | None
    beats_chance: bool | None
    classes: tuple[ClassQuality, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    calibration: Calibration | None = None


class Intervention(Frozen):
    """One step that was tried on the examples.

    Attributes
    ----------
    name, title
        ``refit-head`` and the same in words.
    gain, interval
        Of the measure (accuracy: a share), paired over examples, with its own 95 % interval.
    loss_gain, loss_interval
        By how much the loss falls.
    examples
        How many it was judged on: fewer than all where it was given up early.
    stored_parameters
        Numbers that doing it for good adds to or changes in the files.
    seconds
        What trying it took.
    cross_fitted
        Whether something was fitted, on other examples than it is judged on.
    helps
        Whether the gain is more than noise, with all steps that were tried counted.
    chance
        How often noise alone would give some step a gain as clear as this one's.
    how, command
        What is done for good, in words and as a command; the command is empty where there is none.
    in_code
        Whether it takes another class of the model, so that files alone can't do it.
    """

    name: str
    title: str
    gain: float
    interval: Interval
    loss_gain: float
    loss_interval: Interval
    examples: int
    stored_parameters: int
    seconds: float
    cross_fitted: bool
    helps: bool
    chance: float
    how: str
    command: str = ""
    in_code: bool = False


class Cause(Frozen):
    """A finding of `check`, and what the step that would mend it gained.

    Attributes
    ----------
    verdict
        ``confirmed``: a step against it is the advised one; ``a part``: one gains, but less than another;
        ``gains nothing``: none does; ``not tried``: there is none.
    tried
        Names of those steps.
    """

    finding: Finding
    verdict: Literal["confirmed", "a part", "gains nothing", "not tried"]
    tried: tuple[str, ...] = ()


class Example(Frozen):
    """One example that tells something; `text` is None where texts stay out."""

    row: int
    text: str | None
    label: str
    answer: str
    loss: float


class Slice(Frozen):
    """A part of the examples that does worse than the others."""

    name: str
    examples: int
    score: float
    difference: float
    interval: Interval


class Diagnosis(Frozen):
    """One tuned model on the examples.

    Attributes
    ----------
    tuned
        Its path.
    headline
        The answer in one or two sentences.
    advice
        Name of the advised step; None where none helps.
    gain
        What following the advice gains on examples that did not choose it.
    interventions
        Steps by their gain.
    causes
        Findings of `check`, those that a step confirms first.
    worst
        Examples with the highest loss.
    lost, won
        Examples that the base's probe gets right and the tuned model wrong, and the reverse.
    """

    tuned: str
    examples: int
    headline: str
    quality: Quality
    advice: str | None
    gain: Measured | None
    interventions: tuple[Intervention, ...]
    causes: tuple[Cause, ...] = ()
    worst: tuple[Example, ...] = ()
    lost: tuple[Example, ...] = ()
    won: tuple[Example, ...] = ()
    slices: tuple[Slice, ...] = ()
    notes: tuple[str, ...] = ()


class Rivals(Frozen):
    """Two tuned models on the same examples.

    Attributes
    ----------
    gain, interval
        Of the second over the first, paired over examples.
    chance
        McNemar's exact p of as uneven a split where both are as good; None without right and wrong answers.
    only_first, only_second
        Examples that only one of them gets right.
    slices
        Where they differ most.
    """

    first: str
    second: str
    gain: float
    interval: Interval
    chance: float | None
    only_first: int
    only_second: int
    slices: tuple[Slice, ...] = ()


class Diagnosed(Frozen):
    """What `diagnose` says of one base, one file of examples, and one or several tuned models."""

    base: str
    data: str
    diagnoses: tuple[Diagnosis, ...]
    rivals: tuple[Rivals, ...] = ()
