"""Intervals hold the truth as often as they promise, also where they are looked at before the end."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bitfit_probe.measures import intervals
from bitfit_probe.measures.intervals import looks, mean_interval, share_interval


@pytest.fixture
def fewer_resamples(monkeypatch):
    """Enough for a simulation of hundreds of experiments."""
    monkeypatch.setattr(intervals, "_RESAMPLES", 400)


def draw(random, kind, count):
    """Paired differences of losses with mean 0.05, as they come: a few examples get much worse."""
    if kind == "normal":
        return random.normal(0.05, 0.2, count)
    worse = random.random(count) < 0.1
    return random.normal(0, 0.02, count) + worse * random.exponential(0.5, count)


@pytest.mark.parametrize(("kind", "seed"), [("normal", 0), ("skewed", 1)])
def test_the_interval_covers_the_mean(fewer_resamples, kind, seed):
    """Over 400 experiments of 200 examples; ± 3 standard errors of such a share are 0.033."""
    random = np.random.default_rng(seed)
    ends = [mean_interval(draw(random, kind, 200), 0.95) for _ in range(400)]
    covered = np.mean([low <= 0.05 <= high for low, high in ends])
    assert 0.917 <= covered <= 0.983


def test_skewness_makes_no_false_free(fewer_resamples):
    """The upper end is below the truth in 2.5 % of cases; Student's far more often."""
    random = np.random.default_rng(2)
    samples = [draw(random, "skewed", 200) for _ in range(400)]
    ours = np.mean([mean_interval(values, 0.95)[1] < 0.05 for values in samples])
    students = np.mean(
        [stats.ttest_1samp(values, 0).confidence_interval(0.95).high < 0.05 for values in samples]
    )
    assert ours <= 0.05 < students


def test_looking_early_keeps_the_coverage(fewer_resamples):
    """Stopping at the first look that decides, as reverting does: the interval it stops with covers."""
    random, missed = np.random.default_rng(3), 0
    plan = looks(400, 0.9)
    for _ in range(400):
        values = draw(random, "skewed", 400)
        for look in plan:
            low, high = mean_interval(values[: look.examples], look.confidence)
            if low > 0.03 or high < 0.03:
                break
        missed += not low <= 0.05 <= high
    assert missed / 400 <= 0.1 + 0.045


def test_normal_differences_give_students_interval():
    """With 400 normal values, the resampled ends are Student's up to the resampling's noise."""
    values = np.random.default_rng(4).normal(0.3, 1, 400)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values, 0.95) == pytest.approx((expected.low, expected.high), abs=0.02)


def test_the_interval_is_the_same_in_every_run():
    values = np.random.default_rng(5).normal(size=100)
    assert mean_interval(values, 0.95) == mean_interval(values.copy(), 0.95)


@given(st.integers(0, 10**6), st.floats(-5, 5), st.floats(0.01, 100))
def test_the_interval_moves_and_grows_with_the_values(seed, shift, scale):
    values = np.random.default_rng(seed).normal(size=40)
    low, high = mean_interval(values, 0.9)
    assert low < values.mean() < high
    moved = mean_interval(values * scale + shift, 0.9)
    assert moved == pytest.approx((low * scale + shift, high * scale + shift), rel=1e-6, abs=1e-6)


def test_degenerate_samples():
    assert mean_interval(np.array([0.5]), 0.95) == (-math.inf, math.inf)
    assert mean_interval(np.full(10, 0.25), 0.95) == (0.25, 0.25)


def test_one_value_that_differs_gives_no_upper_end():
    """Half of the resamples miss it: nothing is known of its weight, and the group stays undecided."""
    low, high = mean_interval(np.array([0.0] * 99 + [1.0]), 0.95)
    assert low < 0.01
    assert high == math.inf


@pytest.mark.parametrize(
    ("lost", "won", "examples"), [(40, 10, 200), (0, 0, 150), (3, 0, 600), (0, 25, 100), (50, 50, 1000)]
)
def test_the_interval_of_shares_is_agresti_and_mins(lost, won, examples):
    """Computed from the 2 × 2 table with half a pair more in each cell."""
    both = examples - lost - won
    cells = np.array([both / 2, lost, won, both / 2]) + 0.5
    shares = cells / cells.sum()
    shift = shares[2] - shares[1]
    error = math.sqrt((shares[1] + shares[2] - shift**2) / cells.sum())
    reach = stats.norm.ppf(0.975) * error
    assert share_interval(lost, won, examples, 0.95) == pytest.approx((shift - reach, shift + reach))


def test_the_interval_of_shares_covers():
    random, truth, hits = np.random.default_rng(6), 0.05 - 0.03, 0
    for _ in range(2000):
        lost, won, _ = random.multinomial(200, [0.03, 0.05, 0.92])
        low, high = share_interval(lost, won, 200, 0.95)
        hits += low <= truth <= high
    assert 0.935 <= hits / 2000 <= 0.975


@given(st.integers(1, 5000), st.floats(0.5, 0.999))
def test_the_looks_spend_the_error_once(examples, confidence):
    plan = looks(examples, confidence)
    assert sum(1 - look.confidence for look in plan) == pytest.approx(1 - confidence)
    assert [look.examples for look in plan] == sorted(look.examples for look in plan)
    assert plan[-1].examples == examples
    assert len(looks(examples, confidence, early_stop=False)) == 1
