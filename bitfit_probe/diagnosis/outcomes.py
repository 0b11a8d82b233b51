"""What answers are worth, example by example: the measure's share and the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from bitfit_probe.inference import Question

    Floats = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = [
    "Outcome",
    "log_probabilities",
    "outcome_of_logits",
    "outcome_of_losses",
    "outcome_of_similarities",
]


@dataclass(frozen=True)
class Outcome:
    """Example by example, both of shape (examples,).

    Attributes
    ----------
    scores
        What the measure is the mean of: 1 or 0 for a class, 1 − squared error over the labels' variance for
        a quantity, the negative loss for a language model, a share of Spearman's ρ for similarities.
    losses
        Cross-entropy in nats, squared error over the variance, or 1 − score for similarities.
    """

    scores: Floats
    losses: Floats

    def take(self, rows: Rows) -> Outcome:
        """Those of some examples."""
        return Outcome(self.scores[rows], self.losses[rows])


def log_probabilities(logits: Floats) -> Floats:
    """Log-softmax over the last axis; what is not finite counts as an answer without any preference."""
    # Overflow in half precision gives NaN, whose argmax would be class 0.
    sound = np.isfinite(logits).all(axis=1, keepdims=True)
    shifted = np.where(sound, logits - np.where(sound, logits, 0.0).max(axis=1, keepdims=True), 0.0)
    found: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found


def outcome_of_logits(question: Question, logits: Floats, targets: npt.NDArray[np.generic]) -> Outcome:
    """The outcome of a classifier's or a regression's answers, shape (examples, outputs)."""
    if question.kind == "regression":
        losses = (logits[:, 0] - targets.astype(np.float64)) ** 2 / question.scale
        return Outcome(1 - losses, losses)
    known = log_probabilities(logits)
    places = targets.astype(np.int64)
    right = (known.argmax(1) == places) & np.isfinite(logits).all(axis=1)
    return Outcome(right.astype(np.float64), -known[np.arange(len(places)), places])


def outcome_of_similarities(cosines: Floats, targets: npt.NDArray[np.generic]) -> Outcome:
    """The outcome of cosines, whose scores' mean is Spearman's rank correlation with the labels.

    With standardised ranks a and b the mean of 1 − (a − b)²/2 over examples is their correlation.
    """
    from scipy.stats import rankdata

    ranks = [rankdata(np.asarray(values, np.float64)) for values in (cosines, targets)]
    one, other = ((rank - rank.mean()) / max(float(rank.std()), 1e-30) for rank in ranks)
    scores = 1 - (one - other) ** 2 / 2
    return Outcome(scores, 1 - scores)


def outcome_of_losses(losses: Floats) -> Outcome:
    """The outcome of a language model, whose measure is its loss."""
    return Outcome(-losses, losses)
