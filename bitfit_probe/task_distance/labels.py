"""Label distance: how well frozen features tell the classes apart."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.task_distance.intervals import bootstrap_mean

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["h_score", "log_evidence", "nearest_neighbours", "probe"]

Floats = "npt.NDArray[np.float64]"
_FOLDS = 5
_NEIGHBOURS = 5


def probe(
    features: npt.NDArray[np.floating],
    labels: npt.NDArray[np.number],
    *,
    regression: bool = False,
    seed: int = 0,
) -> tuple[float, tuple[float, float]]:
    """Cross-validated score of a linear model on frozen features.

    Logistic regression on standardised features, its strength chosen inside each training fold; ridge for
    quantities.

    Parameters
    ----------
    features
        Shape (examples, width).
    labels
        Class numbers, or quantities. Shape (examples,).
    regression
        Whether `labels` are quantities.
    seed
        Of the folds.

    Returns
    -------
    score, interval
        Accuracy (regression: R²) over all held-out examples, with a 95 % bootstrap interval.
    """
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if regression:
        model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 11)))
        predicted = cross_val_predict(
            model, features, labels, cv=KFold(_FOLDS, shuffle=True, random_state=seed)
        )
        residual = (labels - predicted) ** 2
        spread = float(np.mean((labels - labels.mean()) ** 2))
        mean, (low, high) = bootstrap_mean(residual / spread, seed=seed)
        return 1 - mean, (1 - high, 1 - low)
    logistic = LogisticRegression(max_iter=1000)
    search = GridSearchCV(logistic, {"C": [0.001, 0.01, 0.1, 1.0]}, cv=3, scoring="neg_log_loss")
    model = make_pipeline(StandardScaler(), search if _enough(labels) else logistic)
    folds = StratifiedKFold(_folds(labels), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rare classes and slow convergence: care.py names the former
        predicted = cross_val_predict(model, features, labels, cv=folds)
    return bootstrap_mean((predicted == labels).astype(float), seed=seed)


def _folds(labels: npt.NDArray[np.number]) -> int:
    """Folds such that each class of two or more is in as many as can be."""
    return int(np.clip(np.unique(labels, return_counts=True)[1].min(), 2, _FOLDS))


def _enough(labels: npt.NDArray[np.number]) -> bool:
    return bool(np.unique(labels, return_counts=True)[1].min() >= 3 * _FOLDS)


def nearest_neighbours(
    features: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], *, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """Leave-one-out accuracy of the five nearest neighbours by cosine, with a bootstrap interval."""
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.finfo(float).tiny)
    similar = unit @ unit.T
    np.fill_diagonal(similar, -np.inf)
    count = min(_NEIGHBOURS, len(labels) - 1)
    near = np.argsort(-similar, axis=1, kind="stable")[:, :count]
    votes = np.zeros((len(labels), int(labels.max()) + 1))
    # Each vote weighs its similarity a little, which settles ties by who is nearer.
    weight = 1 + 1e-3 * np.take_along_axis(similar, near, 1)
    np.add.at(votes, (np.arange(len(labels))[:, None], labels[near]), weight)
    return bootstrap_mean((votes.argmax(1) == labels).astype(float), seed=seed)


def log_evidence(features: npt.NDArray[np.floating], targets: npt.NDArray[np.floating]) -> float:
    """LogME: the maximised log evidence of a Bayesian linear model, per example, averaged over targets.

    With K = FFᵀ and λ = α/β the noise 1/β has a closed form, so the maximum over α and β is one over λ alone
    (You et al. 2021, eq. 2; their fixed-point steps break down where features outnumber examples).

    Parameters
    ----------
    features
        F, shape (n, width).
    targets
        One-hot classes or quantities, shape (n, outputs).
    """
    left, singular, _ = np.linalg.svd(np.asarray(features, np.float64), full_matrices=False)
    present = (y for y in np.asarray(targets, np.float64).T if y.any())  # a class may be absent
    return float(np.mean([_evidence(left, singular**2, y) for y in present]))


#: Range of λ that is searched, in units of the mean eigenvalue of K, as powers of ten.
_RATIOS = (-8.0, 4.0)


def _evidence(
    left: npt.NDArray[np.float64], values: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> float:
    from scipy.optimize import minimize_scalar

    count = len(y)
    projected = (left.T @ y) ** 2
    outside = max(float(y @ y - projected.sum()), 0.0)
    scale = float(values.mean()) or 1.0  # features that are all zero explain nothing, at any strength

    def negative(power: float) -> float:
        spread = values / (scale * 10.0**power) + 1  # eigenvalues of K/λ + I
        noise = (float((projected / spread).sum()) + outside) / count
        return float(count * np.log(2 * np.pi * noise) + np.log(spread).sum() + count) / 2 / count

    # The evidence may have two humps; a coarse look finds the higher one.
    coarse = np.linspace(*_RATIOS, 25)
    start = int(np.argmin([negative(power) for power in coarse]))
    bounds = coarse[max(start - 1, 0)], coarse[min(start + 1, len(coarse) - 1)]
    return -float(minimize_scalar(negative, bounds=bounds, method="bounded").fun)


def h_score(features: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> float:
    """Regularised H-score: tr(Σ⁻¹ (1 − s) cov(E[f|y])) with Ledoit–Wolf shrinkage s.

    (Ibrahim et al. 2022, eq. 5.)

    Parameters
    ----------
    features
        Shape (n, width).
    labels
        Class numbers, shape (n,).

    Returns
    -------
    float
        From 0 (classes have the same mean) up to classes − 1.
    """
    from sklearn.covariance import ledoit_wolf

    centred = np.asarray(features, np.float64) - features.mean(0)
    covariance, shrinkage = ledoit_wolf(centred, assume_centered=True)
    classes, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    means = np.zeros((len(classes), centred.shape[1]))
    np.add.at(means, inverse, centred)
    means /= counts[:, None]
    weighted = means * np.sqrt(counts / len(labels))[:, None]
    if shrinkage < np.finfo(float).eps or not covariance.any():  # nothing on the diagonal: perhaps singular
        solved = np.linalg.pinv(covariance, hermitian=True) @ weighted.T
    else:
        solved = np.linalg.solve(covariance, weighted.T)
    return float((1 - shrinkage) * np.sum(weighted * solved.T))
