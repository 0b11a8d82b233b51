"""The table of runs is whole, and what ships is what it gives."""

from __future__ import annotations

import base64
import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.recommend.clusters import cluster_interval
from benchmarks.recommend.plan import BUDGETS, Cell, examples_of, planned, split
from benchmarks.recommend.samples import RUNS as TABLE
from benchmarks.recommend.samples import Case, cases, cell_of, read
from benchmarks.recommend.validate import CHOSEN, DESIGNS, cheapest, judge
from benchmarks.recommend.validate import Advised as Said
from bitfit_probe.recommend.fitting import Sample, fit
from bitfit_probe.recommend.rule import shipped
from bitfit_probe.records.recommendation import METHODS


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return read(TABLE)


def test_each_run_is_there_once(rows: list[dict[str, str]]) -> None:
    keys = Counter((cell_of(row), row["method"], row["rate"]) for row in rows)
    assert len(rows) >= 300
    assert set(keys.values()) == {1}
    assert {method for _, method, _ in keys} == {"head", *METHODS}


def test_every_accuracy_is_that_of_its_own_answers(rows: list[dict[str, str]]) -> None:
    for row in rows:
        packed = np.frombuffer(base64.b64decode(row["correct"]), np.uint8)
        right = np.unpackbits(packed, count=int(row["tested"]))
        assert right.mean() == pytest.approx(float(row["accuracy"]), abs=1e-5)


def test_what_ships_is_what_the_runs_give() -> None:
    """The fit again, by the same command's parts: predictions agree on every cell."""
    samples = [sample for case in cases() for sample in case.samples]
    again, stored = fit(samples, DESIGNS[CHOSEN]), shipped().rule
    for sample in samples:
        for method in METHODS:
            ours, theirs = again.gaps(sample.values), stored.gaps(sample.values)
            assert ours.expected(method) == pytest.approx(theirs.expected(method), abs=1e-3)
    assert shipped().validation["cases"] == len(cases())


def test_training_sets_are_nested_and_leave_all_others_to_test(tmp_path: Path) -> None:
    with (tmp_path / "toy.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([("text", "label"), *((f"text {i}", f"c{i % 2}") for i in range(1100))])
    found = {size: split(tmp_path, Cell("any", "toy", size, 0)) for size in BUDGETS}
    assert set(found[64][0]) < set(found[256][0]) < set(found[1024][0])
    for size, (train, test) in found.items():
        assert len(train) == size
        assert sorted(train + test) == list(range(1100))
    other = split(tmp_path, Cell("other model", "toy", 64, 0))
    assert other == found[64]  # whichever model: methods and models meet on the same examples
    assert split(tmp_path, Cell("any", "toy", 64, 1)) != found[64]
    examples_of.cache_clear()


def test_methods_meet_on_the_same_cells() -> None:
    by_method: dict[str, set[Cell]] = {}
    for run in planned():
        by_method.setdefault(run.method, set()).add(run.cell)
    assert by_method["bitfit"] == by_method["lora"] == by_method["full"] == by_method["head"]


# Judging ------------------------------------------------------------------------------------------


def case(task: str, bitfit: float, lora: float, full: float, *, examples: int = 10_000) -> Case:
    scores = {"bitfit": bitfit, "lora": lora, "full": full}
    right = {m: (np.arange(examples) < s * examples).astype(float) for m, s in scores.items()}
    sample = Sample("model", task, 256, 0, {}, scores)
    return Case("model", task, 256, (sample,), right, {"bitfit": 10, "lora": 100, "full": 1000})


def test_regret_and_labels_by_hand() -> None:
    found = [case("a", 0.80, 0.81, 0.82), case("b", 0.70, 0.75, 0.75), case("c", 0.60, 0.60, 0.64)]
    assert [cheapest(item) for item in found] == ["lora", "lora", "full"]
    figures = judge([Said(item, "lora") for item in found])
    assert figures.mean == pytest.approx((1 + 0 + 4) / 3)
    assert figures.median == pytest.approx(1)
    assert figures.within == pytest.approx(2 / 3)
    assert figures.label == pytest.approx(2 / 3)
    assert figures.trained == 1
    assert figures.over_lora == (0, 0)
    cheap = judge([Said(item, "bitfit") for item in found])
    assert cheap.trained == pytest.approx(0.1)
    assert cheap.mean == pytest.approx((2 + 5 + 4) / 3)


def test_a_difference_within_noise_is_a_tie() -> None:
    """With 100 examples 2 points are one standard error and a half; with 10,000 they are far from it."""
    few, many = case("a", 0.80, 0.80, 0.82, examples=100), case("a", 0.80, 0.80, 0.82)
    assert few.tied("bitfit")
    assert not many.tied("bitfit")
    assert cheapest(few) == "bitfit"
    assert cheapest(many) == "full"


def test_whole_tasks_are_drawn() -> None:
    """Ten equal cells of one task are no more certain than one: the interval is that of two values."""
    values = np.array([0.0] * 10 + [1.0] * 10)
    low, high = cluster_interval(np.mean, (values,), ["a"] * 10 + ["b"] * 10)
    assert (low, high) == (0.0, 1.0)
