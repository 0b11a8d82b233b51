"""What is fitted is judged on other examples: folds, and a linear head on stored features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.data.folds import folds
from bitfit_probe.diagnosis.outcomes import log_probabilities
from bitfit_probe.task_distance.ridge import INTERCEPT, best_fit

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = [
    "LinearHead",
    "Split",
    "cross_fitted",
    "fit_head",
    "fit_regression",
    "scale_and_offsets",
    "splits_of",
]

_FOLDS = 5
#: How much less the old head's answers are penalised than features: they are few, and often nearly right.
_TRUST = 10.0
#: Penalty on offsets, as if so many examples had been seen without one: few examples move them little.
_PRIOR = 1.0


@dataclass(frozen=True)
class Split:
    """Examples to fit on and examples to judge, by number."""

    fit: Rows
    judge: Rows


@dataclass(frozen=True)
class LinearHead:
    """Weight of shape (outputs, width) and bias of shape (outputs,)."""

    weight: Floats
    bias: Floats

    def __call__(self, features: npt.NDArray[np.floating]) -> Floats:
        """Logits, shape (examples, outputs)."""
        return np.asarray(features, np.float64) @ self.weight.T + self.bias


def splits_of(targets: npt.NDArray[np.generic], *, classes: bool) -> list[Split]:
    """Each example is judged once; with `classes`, each class is spread over the folds."""
    everything = np.arange(len(targets))
    held_out = folds(targets, _FOLDS, spread=classes)
    return [Split(np.setdiff1d(everything, fold, assume_unique=True), fold) for fold in held_out]


def cross_fitted(splits: Sequence[Split], examples: int, fit: Callable[[Rows, Rows], Floats]) -> Floats:
    """What `fit` answers to the judged rows of each split, from that split's other rows."""
    made: Floats | None = None
    for split in splits:
        found = fit(split.fit, split.judge)
        made = np.zeros((examples, found.shape[1])) if made is None else made
        made[split.judge] = found
    assert made is not None
    return made


def fit_head(
    features: npt.NDArray[np.floating], targets: Rows, classes: int, old: LinearHead | None = None
) -> LinearHead:
    """Ridge regression on standardised features, and on what the old head says of them; scaled to logits.

    The old head's logits are linear in the features, so the fit is one linear head again. Being few and
    hardly penalised they let a handful of examples mend their order, scale and offset, where a head from
    nothing would have to learn the task anew. The strength is the one with the smallest leave-one-out error;
    the same left-out predictions tell the scale that makes them log-odds.

    Parameters
    ----------
    features
        Shape (examples, width).
    targets
        Class numbers, shape (examples,).
    classes
        How many there are.
    old
        The head that is there.
    """
    design, map_back, mean = _designed(features, old)
    weight, bias, left_out = _ridge(design, np.eye(classes)[targets])
    scale, _ = scale_and_offsets(left_out, targets, offsets=False)
    found = scale * weight @ map_back.T
    return LinearHead(found, scale * bias - found @ mean)


def fit_regression(features: npt.NDArray[np.floating], targets: Floats) -> LinearHead:
    """Ridge regression on standardised features, of strength chosen by leaving one out."""
    design, map_back, mean = _designed(features, None)
    weight, bias, _ = _ridge(design, targets[:, None])
    found = weight @ map_back.T
    return LinearHead(found, bias - found @ mean)


def _designed(features: npt.NDArray[np.floating], old: LinearHead | None) -> tuple[Floats, Floats, Floats]:
    """Columns to fit on, of mean 0; the matrix that made them of centred features; and the features' mean."""
    features = np.asarray(features, np.float64)
    mean, spread = features.mean(0), features.std(0)
    dead = spread <= 1e-9 * max(float(spread.max()), 1e-30)
    map_back = np.diag(np.where(dead, 0.0, 1 / np.where(dead, 1.0, spread)))
    if old is not None:
        said = (old.weight - old.weight.mean(0)).T
        scale = max(float(((features - mean) @ said).std()), 1e-9)
        map_back = np.hstack([map_back, said * (_TRUST / scale)])
    return (features - mean) @ map_back, map_back, mean


def _ridge(design: Floats, targets: Floats) -> tuple[Floats, Floats, Floats]:
    """Weight (outputs, columns), bias (outputs,) and left-out predictions of columns of mean 0."""
    kernel = design @ design.T
    scale = max(float(np.trace(kernel)) / len(kernel), 1e-30)
    best = best_fit(kernel, None, targets)
    solved = np.linalg.solve(kernel / scale + INTERCEPT + best.ridge * np.eye(len(kernel)), targets)
    return solved.T @ design / scale, INTERCEPT * solved.sum(0), best.predictions


def scale_and_offsets(logits: Floats, targets: Rows, *, offsets: bool) -> tuple[float, Floats]:
    """The scale and the offsets with the lowest cross-entropy (Guo et al. 2017, §4: temperature scaling).

    Parameters
    ----------
    logits
        Shape (examples, classes).
    targets
        Class numbers, shape (examples,).
    offsets
        Fit an offset a class too, pulled to 0 as by one example that speaks against it.
    """
    from scipy.optimize import minimize

    rows, classes = np.arange(len(targets)), logits.shape[1]
    centred = logits - logits.mean(axis=1, keepdims=True)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        scale, shift = np.exp(parameters[0]), parameters[1:] if offsets else np.zeros(classes)
        known = log_probabilities(centred * scale + shift)
        slope = np.exp(known)
        slope[rows, targets] -= 1
        gradient = [float((slope * centred).sum() * scale)]
        if offsets:
            gradient += list(slope.sum(0) + 2 * _PRIOR * shift)
        value = -float(known[rows, targets].sum()) + _PRIOR * float((shift**2).sum())
        return value, np.array(gradient)

    bounds = [(-5, 5), *([(-20, 20)] * classes if offsets else [])]
    found = minimize(loss, np.zeros(len(bounds)), jac=True, method="L-BFGS-B", bounds=bounds)
    return float(np.exp(found.x[0])), found.x[1:] if offsets else np.zeros(classes)
