"""t has nothing in common with the base: drawn anew at an initialisation, or from somewhere else."""

from __future__ import annotations

import math

import numpy as np

from bitfit_probe.forms.case import Case
from bitfit_probe.records.forms import Form

__all__ = ["LEVEL", "find"]

LEVEL = 4
#: Elements from which on a cosine near 0 is no chance.
_LEAST = 1024
#: Standard errors of a cosine, 1/√n, and of a standard deviation, 1/√(2n), that chance reaches.
_ERRORS = 4.0
#: Training adds to the base and leaves a slope ⟨t, b⟩ / ‖b‖² of 1 however far it goes; of a tensor without
#: relation it is 0. Chance must not reach half way.
_HALF_WAY = 0.5
#: Weights of another model are of a size with the base's.
_ALIKE = 3.0
#: Kurtosis of a normal and of a uniform distribution, and how far a truncated one may be.
_NORMAL, _UNIFORM, _NEAR = 3.0, 1.8, 0.35


def find(case: Case) -> Form | None:
    """Whether the tuned tensor is without relation to the base, and which initialisation it looks like."""
    row, size = case.row, case.size
    if size < _LEAST or row.cosine is None or not row.base_l2 or not row.tuned_l2 or not row.l2_delta:
        return None
    chance = _ERRORS / math.sqrt(size)
    if abs(row.cosine) > chance or chance * row.tuned_l2 > _HALF_WAY * row.base_l2:
        return None
    left = abs(row.l2_delta**2 - row.base_l2**2 - row.tuned_l2**2) / row.l2_delta**2
    deviation = row.tuned_l2 / math.sqrt(size)
    drawn = _initialisation(case, deviation)
    if drawn is not None:
        says = f"drawn anew: no relation to the base, deviation {deviation:.3g} as {drawn} gives"
        return Form("redrawn", says, {"deviation": deviation, "initialisation": drawn}, left, 1)
    if not 1 / _ALIKE < row.tuned_l2 / row.base_l2 < _ALIKE:
        return None
    says = f"no relation to the base (cosine {row.cosine:.2f})"
    return Form("unrelated", says, {"cosine": row.cosine}, left, 1)


def _initialisation(case: Case, deviation: float) -> str | None:
    """The usual initialisation with that standard deviation and shape of distribution."""
    values = case.sample.tuned
    centred = values - values.mean()
    square = float(np.mean(centred**2))
    if not square:
        return None
    kurtosis = float(np.mean(centred**4)) / square**2
    rows, columns = case.shape
    normal = {
        "a normal of 0.02": 0.02,
        "a standard normal": 1.0,
        "Xavier's normal": math.sqrt(2 / (rows + columns)),
        "Kaiming's normal": math.sqrt(2 / columns),
    }
    uniform = {
        "torch's own uniform": 1 / math.sqrt(3 * columns),
        "Xavier's uniform": math.sqrt(2 / (rows + columns)),
    }
    error = _ERRORS / math.sqrt(2 * case.size) + 0.01
    for found, wanted in ((normal, _NORMAL), (uniform, _UNIFORM)):
        for name, size in found.items():
            if abs(deviation / size - 1) < error and abs(kurtosis - wanted) < _NEAR:
                return name
    return None
