"""Text distance: how the task's texts differ from a reference sample of the pretraining distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bitfit_probe.task_distance.intervals import bootstrap_mean

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Spelling", "frechet", "loss_gap", "maximum_mean_discrepancy", "proxy_a_distance", "spelling"]

_FOLDS = 5


@dataclass(frozen=True)
class Spelling:
    """How a tokenizer takes texts.

    Attributes
    ----------
    tokens_per_word, unknown_share, length
        Tokens a white-space word, share of unknown tokens, tokens a text; each with its interval.
    """

    tokens_per_word: tuple[float, tuple[float, float]]
    unknown_share: tuple[float, tuple[float, float]]
    length: tuple[float, tuple[float, float]]


def spelling(tokenizer: Any, texts: Sequence[str]) -> Spelling:
    """Tokens per word, unknown tokens and lengths, without special tokens."""
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    tokens = np.array([len(row) for row in ids], float)
    words = np.array([max(len(text.split()), 1) for text in texts], float)
    unknown = np.array([row.count(tokenizer.unk_token_id) for row in ids], float)
    return Spelling(
        bootstrap_mean(tokens / words),
        bootstrap_mean(unknown / np.maximum(tokens, 1)),
        bootstrap_mean(tokens),
    )


def proxy_a_distance(
    ours: npt.NDArray[np.floating], reference: npt.NDArray[np.floating], *, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """2(1 − 2·err) of a linear classifier between two samples, balanced (Ben-David et al. 2007, §4).

    0 where they can't be told apart, 2 where they always can. Errors above one half count as that.

    Parameters
    ----------
    ours, reference
        Features, shapes (n, width) and (m, width).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    count = min(len(ours), len(reference))
    random = np.random.default_rng(seed)
    both = np.concatenate([sample[random.permutation(len(sample))[:count]] for sample in (ours, reference)])
    side = np.repeat([0, 1], count)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    wrong = (cross_val_predict(model, both, side, cv=folds) != side).astype(float)
    error, (low, high) = bootstrap_mean(wrong, seed=seed)
    distance, far, near = (2 * (1 - 2 * min(value, 0.5)) for value in (error, low, high))
    return distance, (near, far)


def frechet(ours: npt.NDArray[np.floating], reference: npt.NDArray[np.floating]) -> float:
    """Fréchet distance of two Gaussians, ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½) (Dowson & Landau 1982, eq. 4).

    The trace of the root is the sum of singular values of X₁X₂ᵀ with Σ = XᵀX: exact also where there are
    fewer examples than dimensions.

    Parameters
    ----------
    ours, reference
        Features, shapes (n, width) and (m, width).
    """
    first, second = (np.asarray(sample, np.float64) for sample in (ours, reference))
    shift = first.mean(0) - second.mean(0)
    left, right = ((sample - sample.mean(0)) / np.sqrt(len(sample) - 1) for sample in (first, second))
    root = np.linalg.svd(left @ right.T, compute_uv=False).sum()
    return float(shift @ shift + np.sum(left**2) + np.sum(right**2) - 2 * root)


def maximum_mean_discrepancy(
    ours: npt.NDArray[np.floating],
    reference: npt.NDArray[np.floating],
    *,
    permutations: int = 500,
    seed: int = 0,
) -> tuple[float, float]:
    """Unbiased squared MMD with a Gaussian kernel of median bandwidth, and its permutation p-value.

    (Gretton et al. 2012, eq. 3 and §8.)

    Parameters
    ----------
    ours, reference
        Features, shapes (n, width) and (m, width).
    permutations
        Relabellings behind the p-value, whose smallest value is 1 / (permutations + 1).
    """
    from scipy.spatial.distance import cdist

    both = np.concatenate([ours, reference]).astype(np.float64)
    square = cdist(both, both, "sqeuclidean")
    median = float(np.median(square[np.triu_indices(len(both), 1)]))
    kernel = np.exp(-square / max(median, np.finfo(float).tiny))
    np.fill_diagonal(kernel, 0.0)
    sign = np.zeros(len(both), bool)
    sign[: len(ours)] = True
    observed = _mmd(kernel, sign)
    random = np.random.default_rng(seed)
    reached = sum(_mmd(kernel, random.permutation(sign)) >= observed for _ in range(permutations))
    return observed, (1 + reached) / (1 + permutations)


def _mmd(kernel: npt.NDArray[np.float64], ours: npt.NDArray[np.bool_]) -> float:
    n, m = int(ours.sum()), int((~ours).sum())
    one, other = ours.astype(float), (~ours).astype(float)
    rows = kernel @ np.stack([one, other], 1)
    return float(
        one @ rows[:, 0] / (n * (n - 1))
        + other @ rows[:, 1] / (m * (m - 1))
        - 2 * (one @ rows[:, 1]) / (n * m)
    )


def loss_gap(
    ours: npt.NDArray[np.float64], reference: npt.NDArray[np.float64], *, seed: int = 0, repeats: int = 2000
) -> tuple[float, tuple[float, float]]:
    """Mean loss on the task minus mean loss on the reference, with a bootstrap interval, in nats a token."""
    first, second = (losses[np.isfinite(losses)] for losses in (ours, reference))
    random = np.random.default_rng(seed)
    gaps = [_resampled_mean(first, random) - _resampled_mean(second, random) for _ in range(repeats)]
    low, high = (float(q) for q in np.quantile(gaps, [0.025, 0.975]))
    return float(first.mean() - second.mean()), (low, high)


def _resampled_mean(values: npt.NDArray[np.float64], random: np.random.Generator) -> float:
    return float(random.choice(values, len(values)).mean())
