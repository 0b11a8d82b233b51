"""The share of a change that is a constant shift."""

from __future__ import annotations

import numpy as np
import pytest

from bitfit_probe.task_distance.explainable import explained_after


def test_constant_inputs_are_a_shift_alone(random: np.random.Generator) -> None:
    change = random.standard_normal((4, 3))
    assert explained_after(change, np.tile(random.standard_normal(3), (10, 1))) == pytest.approx(1)


def test_centred_inputs_shift_nothing(random: np.random.Generator) -> None:
    inputs = random.standard_normal((50, 3))
    assert explained_after(random.standard_normal((4, 3)), inputs - inputs.mean(0)) == pytest.approx(
        0, abs=1e-20
    )


def test_a_known_offset(random: np.random.Generator) -> None:
    """X = c ± e with orthogonal change: the shift has |c|² of |c|² + |e|²."""
    inputs = np.array([[3.0, 4.0], [3.0, -4.0]])
    assert explained_after(np.eye(2), inputs) == pytest.approx(9 / 25)
