"""What is fitted is judged on other examples: folds, and a linear head on stored features."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = ["LinearHead", "Split", "cross_fitted", "fit_head", "fit_regression", "folds"]

_FOLDS, _INNER_FOLDS, _SEED = 5, 3, 0
#: Inverse strengths of logistic regression's penalty that are tried; the one where too few examples choose.
_STRENGTHS, _USUAL = (0.001, 0.01, 0.1, 1.0), 0.1
#: How much less the old head's answers are penalised than features: they are few, and often nearly right.
_TRUST = 3.0


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


def folds(targets: npt.NDArray[np.generic], *, classes: bool, count: int = _FOLDS) -> list[Split]:
    """Each example is judged once; with `classes`, each class is spread over the folds."""
    random = np.random.default_rng(_SEED)
    order = random.permutation(len(targets))
    if classes:
        order = order[np.argsort(targets[order], kind="stable")]
    number = np.empty(len(targets), np.int64)
    number[order] = np.arange(len(targets)) % min(count, len(targets))
    everything = np.arange(len(targets))
    return [Split(everything[number != fold], everything[number == fold]) for fold in np.unique(number)]


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
    """Logistic regression on standardised features, and on what the old head says of them.

    The old head's logits are linear in the features, so the fit is one linear head again. Being few and
    hardly penalised they let a handful of examples mend their order, scale and offset, where a head from
    nothing would have to learn the task anew.

    Parameters
    ----------
    features
        Shape (examples, width).
    targets
        Class numbers, shape (examples,).
    classes
        How many there are; those without examples get a low bias.
    old
        The head that is there.
    """
    features = np.asarray(features, np.float64)
    mean, spread = features.mean(0), features.std(0)
    spread = np.where(spread > 1e-9 * max(float(spread.max()), 1e-30), spread, np.inf)
    design, map_back = (features - mean) / spread, np.diag(1 / spread)
    if old is not None:
        weight = old.weight - old.weight.mean(0)
        said = (features - mean) @ weight.T
        scale = _TRUST / max(float(said.std()), 1e-9)
        design = np.hstack([design, said * scale])
        map_back = np.hstack([map_back, weight.T * scale])
    coefficients, intercept = _logistic(design, targets, classes)
    found = coefficients @ map_back.T
    return LinearHead(found, intercept - found @ mean)


def _logistic(design: Floats, targets: Rows, classes: int) -> tuple[Floats, Floats]:
    """Coefficients (classes, columns) and intercepts of a logistic regression with a chosen penalty."""
    weight, bias = np.zeros((classes, design.shape[1])), np.full(classes, -np.log(2.0 * (len(targets) + 1)))
    present = np.unique(targets)
    if len(present) < 2:
        bias[present] = 0.0
        return weight, bias
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # slow convergence
        model = _regression(_strength(design, targets)).fit(design, targets)
    found, intercept = model.coef_, model.intercept_
    if len(present) == 2:
        found, intercept = np.vstack([-found, found]) / 2, np.concatenate([-intercept, intercept]) / 2
    weight[present], bias[present] = found, intercept
    if len(present) < classes:
        absent = np.setdiff1d(np.arange(classes), present)
        weight[absent], bias[absent] = found.mean(0), bias[absent] + intercept.mean()
    return weight, bias


def _regression(strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=300)


def _strength(design: Floats, targets: Rows) -> float:
    """The penalty whose held-out loss is lowest, where each class has enough examples to ask."""
    if np.unique(targets, return_counts=True)[1].min() < 2 * _INNER_FOLDS:
        return _USUAL
    inner = folds(targets, classes=True, count=_INNER_FOLDS)
    losses = []
    for strength in _STRENGTHS:
        loss = 0.0
        for split in inner:
            model = _regression(strength).fit(design[split.fit], targets[split.fit])
            known = model.predict_log_proba(design[split.judge])
            places = np.searchsorted(model.classes_, targets[split.judge])
            loss -= float(known[np.arange(len(places)), places].sum())
        losses.append(loss)
    return _STRENGTHS[int(np.argmin(losses))]


def fit_regression(features: npt.NDArray[np.floating], targets: Floats) -> LinearHead:
    """Ridge regression on standardised features, its strength chosen by leaving one out."""
    from sklearn.linear_model import RidgeCV

    features = np.asarray(features, np.float64)
    mean, spread = features.mean(0), features.std(0)
    spread = np.where(spread > 1e-9 * max(float(spread.max()), 1e-30), spread, np.inf)
    model = RidgeCV(np.logspace(-1, 4, 11)).fit((features - mean) / spread, targets)
    weight = np.atleast_2d(model.coef_ / spread)
    return LinearHead(weight, np.atleast_1d(model.intercept_) - weight @ mean)
