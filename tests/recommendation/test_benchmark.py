"""The table of runs is whole, and what ships is what it gives."""

from __future__ import annotations

import base64
import csv
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.recommend import samples
from benchmarks.recommend.clusters import cluster_interval
from benchmarks.recommend.plan import (
    BUDGETS,
    RATES,
    Cell,
    Run,
    budget_of,
    examples_of,
    planned,
    possible,
    split,
)
from benchmarks.recommend.samples import RUNS as TABLE
from benchmarks.recommend.samples import Case, append, cases, lengthened, read, run_of
from benchmarks.recommend.validate import CHOSEN, DESIGNS, cheapest, judge
from benchmarks.recommend.validate import Advised as Said
from bitfit_probe.recommendation.fitting import Sample, fit
from bitfit_probe.recommendation.rule import shipped
from bitfit_probe.records.recommendation import METHODS
from bitfit_probe.tuning.options import ENOUGH_STEPS


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return read(TABLE)


def test_each_run_is_there_once_and_planned(rows: list[dict[str, str]]) -> None:
    runs = Counter(map(run_of, rows))
    assert len(rows) >= 300
    assert set(runs.values()) == {1}
    assert set(runs) <= set(possible())
    assert {run.method for run in runs} == {"head", *METHODS}


def test_steps_are_those_of_the_passes(rows: list[dict[str, str]]) -> None:
    for row in rows:
        run = run_of(row)
        assert int(row["steps"]) == run.epochs * math.ceil(run.cell.size / BUDGETS[run.cell.size].batch)


def test_methods_have_the_same_passes_in_every_cell_and_steps_enough() -> None:
    passes: dict[Cell, set[int]] = {}
    for run in possible():
        if run.epochs == budget_of(run.cell).epochs:
            passes.setdefault(run.cell, set()).add(run.epochs)
            assert run.epochs * math.ceil(run.cell.size / BUDGETS[run.cell.size].batch) >= ENOUGH_STEPS
    assert all(len(found) == 1 for found in passes.values())


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
    for run in planned({}):
        by_method.setdefault(run.method, set()).add(run.cell)
    assert by_method["bitfit"] == by_method["lora"] == by_method["full"] == by_method["head"]


# Which runs count ---------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of runs in which 64 examples of trec were also run with a third of the passes."""
    path = tmp_path / "runs.csv"
    monkeypatch.setattr(samples, "RUNS", path)
    long, short = {"lora": (0.70, 0.80), "full": (0.75, 0.76)}, {"lora": (0.50, 0.60), "full": (0.72, 0.70)}
    rows = [
        made_up(seed, method, rate, epochs, accuracy)
        for seed, epochs, by_method in ((0, 75, long), (0, 25, short), (1, 75, {"lora": (0.9,)}))
        for method, accuracies in by_method.items()
        for rate, accuracy in zip(RATES[method][1:], accuracies, strict=False)
    ]
    bias = [made_up(0, "bitfit", RATES["bitfit"][1], epochs, 0.6) for epochs in (25, 75)]
    append(path, list(rows[0]), rows + bias)
    return path


def made_up(seed: int, method: str, rate: float, epochs: int, accuracy: float) -> dict[str, object]:
    cell = {"model": "minilm", "task": "trec", "size": 64, "seed": seed}
    return cell | {
        "method": method,
        "rate": rate,
        "epochs": epochs,
        "accuracy": accuracy,
        "steps": 4 * epochs,
    }


def test_longer_runs_are_held_against_shorter_ones_at_the_better_rate_of_both(table: Path) -> None:
    (found,) = lengthened()
    assert (found.model, found.task, found.size, found.steps) == ("minilm", "trec", 64, (100, 300))
    assert found.scores == {"bitfit": (0.6, 0.6), "lora": (0.6, 0.8), "full": (0.72, 0.76)}


def test_a_sweep_goes_outside_on_the_better_side_and_later_seeds_follow_it() -> None:
    first = Cell("minilm", "trec", 64, 0)
    later = first._replace(seed=1)
    lowest, low, high, highest = (Run(first, "lora", rate, 75) for rate in RATES["lora"])

    def lora(cell: Cell, known: dict[Run, float]) -> list[Run]:
        return [run for run in planned(known) if run[:2] == (cell, "lora") and run.epochs == 75]

    assert lora(first, {}) == [low, high]
    assert lora(first, {low: 0.7}) == [low, high]
    assert lora(first, {low: 0.7, high: 0.6}) == [low, high, lowest]
    assert lora(first, {low: 0.6, high: 0.7}) == [low, high, highest]
    assert lora(later, {low: 0.7, high: 0.6}) == []  # the sweep is not done
    assert lora(later, {lowest: 0.6, low: 0.7, high: 0.65}) == [
        low._replace(cell=later),
        high._replace(cell=later),
    ]


def test_the_plan_stays_within_what_is_possible() -> None:
    everything = set(possible())
    known = {run: run.rate for run in everything}  # the highest rate is always the best
    assert set(planned({})) < set(planned(known)) < everything


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
