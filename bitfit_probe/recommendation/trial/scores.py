"""What each held-out example adds to a run's score, so that runs can be compared example by example."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["of_classes", "of_quantities"]


def of_classes(logits: Floats, labels: npt.NDArray[np.int64]) -> tuple[Floats, float]:
    """1 where the class is right and 0 where not, shape (examples,), and the mean cross-entropy in nats."""
    from scipy.special import log_softmax

    losses = -log_softmax(logits, 1)[np.arange(len(labels)), labels]
    return (logits.argmax(1) == labels).astype(np.float64), float(losses.mean())


def of_quantities(predictions: Floats, labels: Floats) -> tuple[Floats, float]:
    """Shares of R² = 1 − Σe²/Σ(y − ȳ)², whose mean it is, and the mean squared error."""
    squares = (predictions.reshape(-1) - labels) ** 2
    spread = float(labels.var()) or 1.0
    return 1 - squares / spread, float(squares.mean())
