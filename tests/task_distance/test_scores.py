"""Probe scores, evidence and text distances against independent implementations and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from sklearn.covariance import ledoit_wolf
from sklearn.neighbors import KNeighborsClassifier

from bitfit_probe.task_distance.intervals import bootstrap_mean
from bitfit_probe.task_distance.labels import h_score, log_evidence, nearest_neighbours, probe
from bitfit_probe.task_distance.text import frechet, maximum_mean_discrepancy, proxy_a_distance, spelling


def blobs(
    random: np.random.Generator, count: int, distance: float, width: int = 12
) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(count) % 2
    features = random.standard_normal((count, width))
    features[:, 0] += distance * labels
    return features, labels


def test_probe_reaches_the_bayes_rate_of_two_gaussians(random: np.random.Generator) -> None:
    features, labels = blobs(random, 1500, 2.0, width=3)
    score, (low, high) = probe(features, labels)
    assert score == pytest.approx(scipy.stats.norm.cdf(1.0), abs=0.02)
    assert low < scipy.stats.norm.cdf(1.0) < high


def test_probe_of_a_quantity_finds_its_explained_share(random: np.random.Generator) -> None:
    features = random.standard_normal((800, 4))
    quantity = features @ [1.0, -1.0, 0.5, 0.0] + 0.75 * random.standard_normal(800)
    score, (low, high) = probe(features, quantity, regression=True)
    assert score == pytest.approx(2.25 / (2.25 + 0.75**2), abs=0.03)
    assert low < score < high


def test_neighbours_equal_those_of_sklearn(random: np.random.Generator) -> None:
    features, labels = blobs(random, 60, 1.5)
    right = []
    for left in range(60):
        rest = np.delete(np.arange(60), left)
        model = KNeighborsClassifier(5, metric="cosine", algorithm="brute").fit(features[rest], labels[rest])
        right.append(model.predict(features[[left]])[0] == labels[left])
    assert nearest_neighbours(features, labels)[0] == pytest.approx(np.mean(right))


@pytest.mark.parametrize(("count", "width"), [(40, 5), (12, 30)])
def test_evidence_is_the_largest_marginal_likelihood(
    random: np.random.Generator, count: int, width: int
) -> None:
    features = random.standard_normal((count, width))
    target = features[:, 0] + 0.5 * random.standard_normal(count)
    best = max(
        scipy.stats.multivariate_normal.logpdf(
            target, cov=features @ features.T / 10.0**alpha + np.eye(count) / 10.0**beta, allow_singular=False
        )
        for alpha in np.arange(-2, 3, 0.1)
        for beta in np.arange(-2, 3, 0.1)
    )
    found = log_evidence(features, target[:, None]) * count
    assert best - 1e-9 <= found <= best + 0.05  # the grid of tenths misses the top by a little


def test_h_score_against_its_definition(random: np.random.Generator) -> None:
    features, labels = blobs(random, 90, 1.0)
    centred = features - features.mean(0)
    covariance, shrinkage = ledoit_wolf(centred, assume_centered=True)
    conditional = np.stack([centred[labels == label].mean(0) for label in labels])
    between = conditional.T @ conditional / len(labels)
    expected = np.trace(np.linalg.inv(covariance) @ between) * (1 - shrinkage)
    assert h_score(features, labels) == pytest.approx(expected)


def test_frechet_is_the_closed_form_also_with_few_examples(random: np.random.Generator) -> None:
    ours = random.standard_normal((200, 6))
    theirs = 2 * random.standard_normal((150, 6)) + 1
    first, second = np.cov(ours.T), np.cov(theirs.T)
    root = scipy.linalg.sqrtm(first @ second).real
    expected = np.sum((ours.mean(0) - theirs.mean(0)) ** 2) + np.trace(first + second - 2 * root)
    assert frechet(ours, theirs) == pytest.approx(expected)
    assert frechet(ours[:4], ours[:4]) == pytest.approx(0, abs=1e-12)


def test_mmd_against_double_sums_and_its_test(random: np.random.Generator) -> None:
    ours, theirs = random.standard_normal((15, 3)), random.standard_normal((20, 3)) + 0.3
    both = np.concatenate([ours, theirs])
    square = ((both[:, None] - both[None]) ** 2).sum(-1)
    kernel = np.exp(-square / np.median(square[np.triu_indices(35, 1)]))
    n, m = 15, 20
    expected = (
        sum(kernel[i, j] for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
        + sum(kernel[i, j] for i in range(n, n + m) for j in range(n, n + m) if i != j) / (m * (m - 1))
        - 2 * kernel[:n, n:].mean()
    )
    assert maximum_mean_discrepancy(ours, theirs, permutations=1)[0] == pytest.approx(expected)
    far = maximum_mean_discrepancy(ours, theirs + 3, permutations=199)
    assert far[1] == pytest.approx(1 / 200)
    same = [
        maximum_mean_discrepancy(*random.standard_normal((2, 15, 3)), permutations=99)[1] for _ in range(20)
    ]
    assert scipy.stats.kstest(same, "uniform").pvalue > 0.01


def test_proxy_a_distance_at_both_ends(random: np.random.Generator) -> None:
    same = proxy_a_distance(random.standard_normal((300, 5)), random.standard_normal((300, 5)))
    assert same[0] < 0.25
    far, interval = proxy_a_distance(random.standard_normal((100, 5)), random.standard_normal((100, 5)) + 20)
    assert far == 2.0
    assert interval == (pytest.approx(2 - 4 * 3 / 200), 2.0)


def test_spelling_counts(tokenizer: object) -> None:
    found = spelling(tokenizer, ["w1 w2 nonsense", "w3"])
    assert found.tokens_per_word[0] == 1.0
    assert found.unknown_share[0] == pytest.approx((1 / 3 + 0) / 2)
    assert found.length[0] == 2.0


def test_bootstrap_covers_the_mean(random: np.random.Generator) -> None:
    inside = 0
    for _ in range(200):
        mean, (low, high) = bootstrap_mean((random.random(80) < 0.7).astype(float))
        assert low <= mean <= high
        inside += low <= 0.7 <= high
    assert 0.90 <= inside / 200 <= 0.99


def test_all_right_still_has_an_interval() -> None:
    assert bootstrap_mean(np.ones(60)) == (1.0, (0.95, 1.0))


def test_features_without_variance_tell_no_classes_apart() -> None:
    labels = np.arange(24) % 2
    assert h_score(np.full((24, 8), 3.0), labels) == 0.0
    # Without features what is left is the noise of the targets: ½(log 2π·½ + 1) each.
    want = -0.5 * (np.log(2 * np.pi * 0.5) + 1)
    assert log_evidence(np.zeros((24, 8)), np.eye(2)[labels]) == pytest.approx(want, abs=1e-9)
    # Two points, one a class: the score of features that tell all is the number of classes less one.
    assert h_score(np.outer(labels, np.ones(8)), labels) == pytest.approx(1.0, abs=0.05)
