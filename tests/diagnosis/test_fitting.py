"""What is fitted and counted, against other implementations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.linear_model import Ridge
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bitfit_probe.diagnosis.fitting import (
    LinearHead,
    cross_fitted,
    fit_head,
    fit_regression,
    scale_and_offsets,
    splits_of,
)
from bitfit_probe.diagnosis.interventions.relabel import assigned
from bitfit_probe.diagnosis.outcomes import log_probabilities
from bitfit_probe.diagnosis.quality import calibration, rate_interval
from bitfit_probe.diagnosis.rivals import mcnemar
from bitfit_probe.task_distance.ridge import RIDGES


def task(classes: int, count: int = 90, width: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Features around a centre a class, on scales that differ by orders of magnitude."""
    random = np.random.default_rng(classes)
    labels = np.arange(count) % classes
    centres = random.normal(0, 1.5, (classes, width))
    scales = 10.0 ** np.arange(-2, width - 2)
    return (centres[labels] + random.normal(size=(count, width))) * scales + 5 * scales, labels


@pytest.mark.parametrize("classes", [2, 4])
def test_head_is_ridge_regression_on_standardised_features(classes):
    """One of the strengths, folded into weights of the raw features; answers as scikit-learn's."""
    features, labels = task(classes)
    logits = fit_head(features, labels, classes)(features)
    wrong = []
    for strength in RIDGES:
        ridge = Ridge(
            strength * features.shape[1]
        )  # standardised columns have a mean diagonal of their number
        theirs = (
            make_pipeline(StandardScaler(), ridge).fit(features, np.eye(classes)[labels]).predict(features)
        )
        scale = np.linalg.lstsq(
            theirs.reshape(-1, 1) - 1 / classes, (logits - logits.mean()).ravel(), rcond=None
        )
        wrong.append(np.abs(scale[0] * (theirs - 1 / classes) - (logits - logits.mean())).max())
    assert min(wrong) < 0.01 * np.abs(logits).max()


def test_head_without_examples_of_a_class_hardly_answers_it():
    features, labels = task(3)
    head = fit_head(features[labels < 2], labels[labels < 2], 3)
    answers = np.exp(log_probabilities(head(features)))
    assert answers[:, 2].mean() < 0.2
    assert (head(features[labels < 2]).argmax(1) == labels[labels < 2]).mean() > 0.9


def test_old_head_with_permuted_rows_is_mended_by_a_handful_of_examples():
    """Twelve examples of 200 numbers can't teach six classes, but can put six answers in order."""
    random = np.random.default_rng(1)
    weight = random.normal(size=(6, 200))
    features = random.normal(size=(600, 200))
    labels = (features @ weight.T).argmax(1)
    permuted = LinearHead(weight[[1, 0, 3, 2, 5, 4]], np.zeros(6))
    few = np.concatenate([np.flatnonzero(labels == place)[:6] for place in range(6)])
    rest = np.setdiff1d(np.arange(600), few)
    with_old = fit_head(features[few], labels[few], 6, permuted)(features[rest]).argmax(1)
    from_nothing = fit_head(features[few], labels[few], 6)(features[rest]).argmax(1)
    assert (with_old == labels[rest]).mean() > 0.75 > (from_nothing == labels[rest]).mean() + 0.3


def test_regression_finds_a_planted_line():
    features, _ = task(2, 200)
    standard = (features - features.mean(0)) / features.std(0)
    head = fit_regression(features, 3 * standard[:, 1] + 7)
    assert head(features)[:, 0] == pytest.approx(3 * standard[:, 1] + 7, abs=0.05)


def test_folds_judge_each_example_once_and_spread_classes():
    labels = np.repeat([0, 1, 2], [50, 20, 10])
    found = splits_of(labels, classes=True)
    assert sorted(np.concatenate([split.judge for split in found])) == list(range(80))
    for split in found:
        assert list(np.bincount(labels[split.judge])) == [10, 4, 2]
        assert not set(split.fit) & set(split.judge)


def test_cross_fitted_answers_never_saw_their_example():
    found = splits_of(np.zeros(20), classes=False)
    seen = cross_fitted(found, 20, lambda fit, judge: np.array([[float(row in fit)] for row in judge]))
    assert not seen.any()


def test_assignment_is_the_best_of_all_permutations():
    random = np.random.default_rng(3)
    for _ in range(20):
        targets, answers = random.integers(0, 5, 60), random.integers(0, 5, 60)
        right = [(np.array(places)[targets] == answers).sum() for places in itertools.permutations(range(5))]
        assert (assigned(answers, targets, 5)[targets] == answers).sum() == max(right)


def test_assignment_leaves_ties_as_they_are():
    assert list(assigned(np.array([0]), np.array([0]), 4)) == [0, 1, 2, 3]


def test_temperature_is_the_best_of_a_grid():
    random = np.random.default_rng(4)
    logits = 4 * random.normal(size=(300, 3))
    labels = np.array([random.choice(3, p=np.exp(row)) for row in log_probabilities(logits / 4)])
    scale, offsets = scale_and_offsets(logits, labels, offsets=False)
    grid = np.linspace(0.05, 1, 381)
    losses = [log_loss(labels, np.exp(log_probabilities(logits * at)), labels=[0, 1, 2]) for at in grid]
    assert scale == pytest.approx(grid[int(np.argmin(losses))], abs=0.003)
    assert not offsets.any()


def test_offsets_undo_a_planted_shift():
    random = np.random.default_rng(5)
    logits = 2 * random.normal(size=(4000, 3))
    labels = np.array([random.choice(3, p=np.exp(row)) for row in log_probabilities(logits)])
    _, offsets = scale_and_offsets(logits + np.array([0, 1.5, -1]), labels, offsets=True)
    assert offsets - offsets[0] == pytest.approx([0, -1.5, 1], abs=0.25)


def test_intervals_and_tests_are_scipys():
    for right, count in ((0, 20), (7, 20), (180, 200), (200, 200)):
        theirs = binomtest(right, count).proportion_ci(method="wilson")
        assert rate_interval(right, count) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    for lost, won in ((0, 0), (3, 3), (2, 9), (40, 10)):
        expected = binomtest(lost, lost + won).pvalue if lost + won else 1.0
        assert mcnemar(lost, won) == pytest.approx(expected)


def test_calibration_of_a_sure_model_that_is_right_half_the_time():
    found = calibration(np.full(100, 0.95), np.tile([0.0, 1.0], 50))
    assert found.error == pytest.approx(0.45)
    assert found.bins == (pytest.approx((0.95, 0.5, 100)),)
