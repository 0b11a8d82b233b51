"""How good the tuned model is, beside guessing, the most frequent class and the base's probe."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.diagnosis.outcomes import Outcome, log_probabilities, outcome_of_logits
from bitfit_probe.diagnosis.subject import Subject
from bitfit_probe.measures.intervals import Interval, mean_interval
from bitfit_probe.records.diagnosis import Calibration, ClassQuality, Measured, Quality

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = ["base_probe", "calibration", "confusion", "quality", "rate_interval"]

_BINS = 10


def quality(subject: Subject) -> Quality:
    """The measure of the kind of task, its interval, and what it is to be compared with."""
    outcome = subject.before
    loss = Measured(float(outcome.losses.mean()), mean_interval(outcome.losses, 0.95))
    if subject.compares:
        base = _mean(subject.outcome(subject.base_body))
        tuned = _mean(outcome)
        return Quality("spearman", tuned, loss, None, base, None, None, tuned.interval[0] > 0)  # type: ignore[index]
    if not subject.predicts:
        return Quality("loss", loss, loss, None, None, None, None, None)
    probe = base_probe(subject)
    if not subject.classifies:
        tuned = _mean(outcome)
        low = tuned.interval[0] if tuned.interval else -math.inf
        return Quality("r2", tuned, loss, None, None if probe is None else _mean(probe), None, None, low > 0)
    return _of_classes(subject, outcome, loss, None if probe is None else accuracy(probe))


def _of_classes(subject: Subject, outcome: Outcome, loss: Measured, probe: Measured | None) -> Quality:
    targets, logits = subject.targets.astype(np.int64), subject.served.logits[: len(subject.targets)]
    tuned, classes = accuracy(outcome), subject.classes
    majority = float(np.bincount(targets).max() / len(targets))
    known = log_probabilities(logits)
    table = confusion(targets, known.argmax(1), classes)
    assert tuned.interval is not None
    return Quality(
        measure="accuracy",
        tuned=tuned,
        loss=loss,
        uniform_loss=math.log(classes),
        base_probe=probe,
        majority=majority,
        chance=1 / classes,
        beats_chance=tuned.interval[0] > max(majority, 1 / classes),
        classes=tuple(_class(subject, table, at) for at in range(classes)),
        confusion=tuple(tuple(int(count) for count in row) for row in table),
        calibration=calibration(np.exp(known.max(1)), outcome.scores),
    )


def _class(subject: Subject, table: Rows, at: int) -> ClassQuality:
    names = subject.live.model.config.id2label
    right, examples, predicted = int(table[at, at]), int(table[at].sum()), int(table[:, at].sum())
    return ClassQuality(
        str(names.get(at, at)),
        examples,
        predicted,
        right / examples if examples else None,
        right / predicted if predicted else None,
    )


def base_probe(subject: Subject) -> Outcome | None:
    """What a linear model on the mean of the frozen base's last layer is worth, fitted on other examples."""
    means = subject.base_body.means
    if not means.size:
        return None
    found: Outcome = subject.once(
        "base probe",
        lambda: outcome_of_logits(subject.question, subject.cross_fit(means), subject.targets),
    )
    return found


def accuracy(outcome: Outcome) -> Measured:
    """The share of right answers with Wilson's interval."""
    right, count = int(outcome.scores.sum()), len(outcome.scores)
    return Measured(right / count, rate_interval(right, count))


def _mean(outcome: Outcome) -> Measured:
    return Measured(float(outcome.scores.mean()), mean_interval(outcome.scores, 0.95))


def rate_interval(right: int, count: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval for a rate (Wilson 1927; Agresti & Coull 1998, eq. 1).

    >>> [round(end, 3) for end in rate_interval(8, 10)]
    [0.49, 0.943]
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate, scale = right / count, 1 + z * z / count
    middle = (rate + z * z / (2 * count)) / scale
    reach = z / scale * math.sqrt(rate * (1 - rate) / count + z * z / (4 * count * count))
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def confusion(targets: Rows, answers: Rows, classes: int) -> Rows:
    """Counts, shape (classes, classes): rows are true classes, columns answers."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (targets, answers), 1)
    return table


def calibration(confidence: Floats, right: Floats) -> Calibration:
    """Expected calibration error over ten bins of equal width (Guo et al. 2017, eq. 3)."""
    place = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    bins = []
    for at in range(_BINS):
        inside = place == at
        if inside.any():
            bins.append((float(confidence[inside].mean()), float(right[inside].mean()), int(inside.sum())))
    error = sum(abs(one - other) * count for one, other, count in bins) / len(right)
    return Calibration(error, tuple(bins))
