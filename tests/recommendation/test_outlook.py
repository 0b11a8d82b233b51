"""What methods are expected to score, and which one a price speaks for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfit_probe.recommendation.calibration import Calibration, Line, Spread, published, shipped
from bitfit_probe.recommendation.outlook import (
    Outlook,
    choose,
    expected_of,
    margin_price,
    outlooks,
    price_table,
)
from bitfit_probe.records.recommendation import Trial, TrialResult

TRAINED = {"bitfit": 1_000, "lora": 10_000, "full": 1_000_000}
BY = Calibration(
    cells=3,
    tasks=3,
    ranges={},
    prior={"bitfit": Spread(-1.0, 2.0), "lora": Spread(0.0, 0.0), "full": Spread(0.5, 1.0)},
    within=(0.5, 0.7),
    lines={
        "bitfit": {64: Line(0.0, 0.25, 2.5), 256: Line(-0.5, 0.5, 1.5)},
        "full": {64: Line(1.0, 0.1, 2.0), 256: Line(0.5, 0.5, 1.0)},
    },
    right={256: 0.9},
    passed={64: False, 256: True},
)


def result(method: str, gap: float) -> TrialResult:
    return TrialResult(method, 1e-3, 0.8 - gap / 100, (0.7, 0.9), gap, (gap - 1, gap + 1), True, False)


def trial(held_out: int, **gaps: float) -> Trial:
    results = tuple(result(method, gap) for method, gap in gaps.items())
    return Trial(10, 60.0, 60.0, held_out, held_out, (), results, enough=True)


def expected(method: str, mean: float, sd: float = 1.0) -> Outlook:
    return Outlook(method, Spread(mean, sd), "runs")


def test_a_seen_gap_is_shrunk_by_its_line() -> None:
    assert BY.shrunk("bitfit", -4.0, 64) == Spread(-1.0, 2.5)
    assert BY.shrunk("bitfit", -4.0, 256) == Spread(-2.5, 1.5)
    half_way = BY.shrunk("bitfit", -4.0, 128)  # in the logarithm of the number
    assert (half_way.mean, half_way.sd) == (pytest.approx(-1.75), pytest.approx(2.0))
    assert BY.shrunk("bitfit", -4.0, 5) == BY.shrunk("bitfit", -4.0, 64)
    assert BY.shrunk("bitfit", -4.0, 9_999) == BY.shrunk("bitfit", -4.0, 256)


def test_a_trial_takes_the_place_of_the_average_where_it_can_compare() -> None:
    methods = ("bitfit", "lora", "full")
    assert [item.over_lora.mean for item in outlooks(methods, BY)] == [-1.0, 0.0, 0.5]
    tried = outlooks(methods, BY, trial(256, bitfit=3.0, lora=1.0))  # BitFit 2 points below LoRA
    assert [item.over_lora.mean for item in tried] == [-0.5 + 0.5 * -2, 0.0, 0.5]
    assert [item.basis for item in tried] == ["trial", "trial", "runs"]
    few = outlooks(methods, BY, trial(40, bitfit=3.0, lora=1.0))
    assert [item.over_lora for item in few] == [item.over_lora for item in outlooks(methods, BY)]
    alone = outlooks(methods, BY, trial(256, bitfit=0.0))
    assert [item.basis for item in alone] == ["runs", "runs", "runs"]


def test_the_price_decides() -> None:
    found = outlooks(tuple(TRAINED), BY)
    # Scores −1, 0, +0.5 with 3, 4 and 6 powers of ten: the chords are 1 and 0.25 points a tenfold.
    answers = {row.price: row.method for row in price_table(found, TRAINED)}
    assert answers == {0.0: "full", 0.25: "lora", 0.5: "lora", 1.0: "bitfit", 2.0: "bitfit"}
    assert choose(found, TRAINED, 0.24) == "full"
    assert choose(found, TRAINED, 0.99) == "lora"
    assert choose(found, TRAINED, 1.01) == "bitfit"


def test_a_margin_is_the_price_at_which_bitfit_may_lose_so_much() -> None:
    assert margin_price(1.5, TRAINED) == pytest.approx(1.5)  # a tenth of LoRA's parameters
    assert margin_price(1.0, TRAINED | {"bitfit": 100}) == pytest.approx(0.5)
    assert margin_price(1.0, {"lora": 5, "full": 7}) is None
    assert margin_price(1.0, {"bitfit": 7, "lora": 5}) is None


def test_chances_are_those_of_the_normal_distribution() -> None:
    from scipy.stats import norm

    item = expected("bitfit", -0.4, 2.0)
    assert item.within(1.0) == pytest.approx(norm.sf(-1.0, -0.4, 2.0))
    assert item.at_most(0.9) == pytest.approx(-norm.ppf(0.1, -0.4, 2.0))


@given(st.floats(-20, 20), st.floats(0.01, 10))
def test_the_gaps_of_two_methods_are_those_of_a_folded_difference(mean: float, sd: float) -> None:
    """E max(0, D) of a normal difference D in closed form."""
    bitfit, lora = expected_of((expected("bitfit", mean, sd), expected("lora", 0.0, 0.0)))
    density = math.exp(-((mean / sd) ** 2) / 2) / math.sqrt(2 * math.pi)
    share = 0.5 * (1 + math.erf(mean / sd / math.sqrt(2)))
    below = sd * density + mean * share  # of LoRA below BitFit
    assert lora.gap == pytest.approx(below, abs=0.08 * sd)
    assert bitfit.gap == pytest.approx(below - mean, abs=0.08 * sd)
    assert 0 <= bitfit.interval[0] <= bitfit.interval[1]


def test_the_likeliest_winner_may_lose_too() -> None:
    best = expected_of((expected("bitfit", 0.0, 2.0), expected("lora", 0.0, 0.0)))[1]
    assert best.interval[1] > 1.0


def test_published_comparisons_count_every_paper_the_same() -> None:
    import csv
    from importlib import resources

    text = resources.files("bitfit_probe.recommendation").joinpath("published.csv").read_text("utf-8")
    papers: dict[str, list[float]] = {}
    for row in csv.DictReader(text.splitlines()):
        papers.setdefault(row["source"], []).append(float(row["bitfit"]) - float(row["lora"]))
    assert published()["bitfit"].mean == pytest.approx(np.mean([np.mean(found) for found in papers.values()]))
    assert published()["lora"] == Spread(0.0, 0.0)


def test_what_ships_believes_more_examples_more() -> None:
    by = shipped()
    for lines in by.lines.values():
        counts = sorted(lines)
        assert counts == [16, 32, 64, 128, 256, 500, 1000]
        assert [lines[count].sd for count in counts] == sorted((lines[c].sd for c in counts), reverse=True)
        assert all(0 < lines[count].slope < 1 for count in counts)
    assert not any(by.passed.values())  # the tasks kept back have not been opened
