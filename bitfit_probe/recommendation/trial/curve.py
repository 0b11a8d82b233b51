"""What more examples would bring: a learning curve with two parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["Curve", "fit_curve"]


@dataclass(frozen=True)
class Curve:
    """The error after training on n examples, ``floor + slope / sqrt(n)``; neither is negative.

    A learning curve is often a power law above a floor (Cortes et al. 1993, "Learning curves: asymptotic
    values and rate of convergence"). Three sizes can't tell its exponent as well, so it is held at 1/2, the
    rate of the classical bounds.
    """

    floor: float
    slope: float

    def error(self, examples: int) -> float:
        """The error foreseen with so many training examples."""
        return self.floor + self.slope / math.sqrt(examples)


def fit_curve(errors: Mapping[int, float]) -> Curve | None:
    """The curve nearest to the errors by number of training examples; None with fewer than two numbers.

    Beyond the largest number it never exceeds the largest error: the fit's residuals have both signs, and
    it does not rise.

    Examples
    --------
    >>> curve = fit_curve({100: 0.3, 400: 0.2})  # 0.1 + 2 / sqrt(n)
    >>> round(curve.error(1600), 6)
    0.15
    """
    from scipy.optimize import nnls

    if len(errors) < 2:
        return None
    sizes = np.array(list(errors), np.float64)
    design = np.stack([np.ones_like(sizes), 1 / np.sqrt(sizes)], 1)
    (floor, slope), _ = nnls(design, np.array(list(errors.values()), np.float64))
    return Curve(float(floor), float(slope))
