"""Kernel ridge regression with its leave-one-out predictions in closed form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["INTERCEPT", "RIDGES", "Fit", "best_fit", "leave_one_out"]

#: Strengths that are tried, as multiples of the kernel's mean diagonal.
RIDGES = tuple(10.0 ** (half / 2) for half in range(-8, 7))
#: Weight of the constant kernel, which stands for an intercept that is not penalised.
INTERCEPT = 1e3


@dataclass(frozen=True)
class Fit:
    """The kernel and ridge with the smallest leave-one-out error.

    Attributes
    ----------
    predictions
        Leave-one-out predictions, shape (examples, outputs).
    error
        Their mean squared error.
    ridge, mix
        The strength (multiple of the mean diagonal), and the second kernel's share.
    """

    predictions: npt.NDArray[np.float64]
    error: float
    ridge: float
    mix: float


def leave_one_out(
    kernel: npt.NDArray[np.float64], targets: npt.NDArray[np.float64], ridge: Iterable[float]
) -> list[npt.NDArray[np.float64]]:
    """Predict each example from a ridge fitted to all others, without refitting.

    With G = (K + λI)⁻¹ and α = G·y the left-out residual is αᵢ / Gᵢᵢ (Rasmussen & Williams 2006, eq. 5.12),
    here for several λ from one eigendecomposition of K.

    Parameters
    ----------
    kernel
        Shape (n, n), positive semi-definite.
    targets
        Shape (n, outputs).
    ridge
        Strengths λ, absolute.

    Returns
    -------
    list of ndarray, shape (n, outputs)
        Predictions, one array a strength.
    """
    values, vectors = np.linalg.eigh((kernel + kernel.T) / 2)
    values = np.maximum(values, 0.0)
    rotated = vectors.T @ targets
    out = []
    for strength in ridge:
        shrink = 1 / (values + strength)
        alpha = vectors @ (shrink[:, None] * rotated)
        diagonal = np.einsum("ij,j,ij->i", vectors, shrink, vectors)
        out.append(targets - alpha / diagonal[:, None])
    return out


def best_fit(
    head: npt.NDArray[np.float64],
    body: npt.NDArray[np.float64] | None,
    targets: npt.NDArray[np.float64],
    mixes: Iterable[float] = (0.1, 0.3, 0.5, 0.7, 0.9, 0.97),
) -> Fit:
    """Choose the mixing share and ridge of ``(1 − m)·head + m·body`` by leave-one-out squared error.

    Both kernels are brought to a mean diagonal of 1 first. Squared error, not accuracy, chooses: its
    minimum over a few strengths is hardly optimistic, and on labels without meaning it ends at the mean.

    Parameters
    ----------
    head, body
        Kernels of shape (n, n); without a body only the head's.
    targets
        Shape (n, outputs).
    """
    ours = _unit(head)
    options = [(0.0, ours)]
    if body is not None:
        theirs = _unit(body)
        options += [(mix, (1 - mix) * ours + mix * theirs) for mix in mixes]
    best: Fit | None = None
    for mix, kernel in options:
        for ridge, predicted in zip(RIDGES, leave_one_out(kernel + INTERCEPT, targets, RIDGES), strict=True):
            error = float(np.mean((predicted - targets) ** 2))
            if best is None or error < best.error:
                best = Fit(predicted, error, ridge, mix)
    assert best is not None
    return best


def _unit(kernel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """`kernel`, centred in feature space, with a mean diagonal of 1 (a kernel of equal examples stays 0)."""
    centred = kernel - kernel.mean(0) - kernel.mean(1)[:, None] + kernel.mean()
    scale = float(np.trace(centred)) / len(centred)
    return centred / scale if scale > 0 else np.zeros_like(centred)
