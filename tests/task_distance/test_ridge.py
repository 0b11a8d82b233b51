"""Closed-form leave-one-out against brute force, and what it must not learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_distance.builders import words_task

from bitfit_probe.task_distance.kernel_forecast import forecast
from bitfit_probe.task_distance.kernels import Kernels
from bitfit_probe.task_distance.ridge import best_fit, leave_one_out


def brute(kernel: np.ndarray, targets: np.ndarray, ridge: float) -> np.ndarray:
    out = np.empty_like(targets)
    for left in range(len(kernel)):
        rest = np.delete(np.arange(len(kernel)), left)
        system = kernel[np.ix_(rest, rest)] + ridge * np.eye(len(rest))
        out[left] = kernel[left, rest] @ np.linalg.solve(system, targets[rest])
    return out


@given(seed=st.integers(0, 10_000), count=st.integers(3, 20), ridge=st.floats(1e-3, 1e3))
@settings(max_examples=40, deadline=None)
def test_leave_one_out_equals_refitting(seed: int, count: int, ridge: float) -> None:
    random = np.random.default_rng(seed)
    features = random.standard_normal((count, 7))
    targets = random.standard_normal((count, 2))
    (fast,) = leave_one_out(features @ features.T, targets, [ridge])
    assert fast == pytest.approx(brute(features @ features.T, targets, ridge), rel=1e-6, abs=1e-8)


def test_the_kernel_that_knows_the_answer_is_chosen() -> None:
    random = np.random.default_rng(0)
    noise, signal = random.standard_normal((2, 60, 5))
    targets = signal @ random.standard_normal((5, 1))
    fit = best_fit(noise @ noise.T, signal @ signal.T, targets)
    assert fit.mix == 0.97
    assert fit.error < 0.05 * targets.var()
    assert best_fit(signal @ signal.T, noise @ noise.T, targets).mix == 0.0


@pytest.mark.parametrize("classes", [2, 5])
def test_shuffled_labels_beat_chance_nowhere(classes: int) -> None:
    """The leak trap: kernels know nothing of the labels, and the choice of ridge must not learn them."""
    above: dict[str, int] = {}
    for seed in range(40):
        random = np.random.default_rng(seed)
        data = words_task(60, classes, seed=seed)
        data = replace(data, labels=tuple(int(label) for label in random.permutation(data.labels)))
        body, other, features = (random.standard_normal((60, width)) for width in (300, 40, 20))
        found = Kernels(features, {("q", 0): other @ other.T}, {8: body @ body.T}, body @ body.T)
        reached = forecast(found, data)
        for item in reached.forecasts:
            above[item.method] = above.get(item.method, 0) + (item.interval[0] > reached.chance)
    # A 95 % interval lies above chance in 2.5 % of the cases by chance: 5 of 40 have a probability of 0.3 %.
    assert max(above.values()) <= 4, above
