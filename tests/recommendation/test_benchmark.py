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
from benchmarks.recommend.heldout import Drawn, Swept, draws, nothing_learned, swept
from benchmarks.recommend.learned import LEARNED, fared
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
from benchmarks.recommend.samples import Case, Sample, append, lengthened, read, run_of
from benchmarks.recommend.validate import judge, line
from bitfit_probe.recommendation.calibration import shipped
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
    """The line of 256 held-out examples again, by the same drawings."""
    cells = [cell for cell in swept() if cell.cell[:3] not in nothing_learned()]
    drawn = draws(cells, 256)
    again, stored = line(drawn, "bitfit"), shipped().lines["bitfit"][256]
    assert (again.intercept, again.slope, again.sd) == pytest.approx(tuple(vars(stored).values()), abs=1e-3)
    assert shipped().cells == len({item.cell for item in drawn})


def test_how_classes_fared_belongs_to_the_runs(rows: list[dict[str, str]]) -> None:
    table = {run_of(row): row for row in read(LEARNED)}
    assert set(table) == set(map(run_of, rows))
    for row in rows:  # one class said of all is right on a class's share, which no recall but one reaches
        if table[run_of(row)]["one_class"] == "1" and row["task"] not in ("trec", "banking77"):
            assert float(table[run_of(row)]["mean_recall"]) == pytest.approx(0.5, abs=1e-4)


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
    return Case("model", task, 256, (Sample("model", task, 256, 0, scores),), right)


def test_a_difference_within_noise_is_a_tie() -> None:
    """With 100 examples 2 points are one standard error and a half; with 10,000 they are far from it."""
    assert case("a", 0.80, 0.80, 0.82, examples=100).tied("bitfit")
    assert not case("a", 0.80, 0.80, 0.82).tied("bitfit")


def test_recalls_by_hand() -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    assert fared((labels == 0).astype(float), labels) == (pytest.approx(1 / 3), True)
    right = np.ones(100)
    right[:25] = 0  # half of the first class
    assert fared(right, labels) == (pytest.approx((0.5 + 1 + 1) / 3), False)


def cell_of_shares(task: str, tested: int = 2_000, **shares: tuple[float, ...]) -> Swept:
    """Runs with these shares of right answers, drawn independently."""
    random = np.random.default_rng(0)
    right = {
        method: {
            10.0**-place: (random.random(tested) < share).astype(float) for place, share in enumerate(of)
        }
        for method, of in shares.items()
    }
    return Swept(Cell("model", task, 256, 0), right, {}, {"bitfit": 10, "lora": 100, "full": 10_000})


def test_drawings_choose_by_the_drawn_and_judge_by_the_others() -> None:
    """The better rate is 30 points better, so that 500 examples choose it every time."""
    cell = cell_of_shares("a", bitfit=(0.5, 0.8), lora=(0.8, 0.5), full=(0.5, 0.8))
    for drawn in draws([cell], 500):
        for method, rates in cell.right.items():
            best = max(rates.values(), key=np.mean)
            whole = 100 * best.mean()
            assert 0.25 * drawn.seen[method] + 0.75 * drawn.true[method] == pytest.approx(whole)
    assert draws([cell_of_shares("a", 900, bitfit=(0.5,), lora=(0.5,), full=(0.5,))], 500) == []


def drawn(task: str, seen: float, true: float) -> Drawn:
    """BitFit so many points above LoRA, as seen and in truth; full as good as LoRA."""
    both = [{"bitfit": 80 + gap, "lora": 80.0, "full": 80.0} for gap in (seen, true)]
    return Drawn(Cell("model", task, 256, 0), both[0], both[1], both[1])


def planted(noise: float) -> list[Drawn]:
    """True gaps are half of the seen ones and a point below, give or take `noise`."""
    random = np.random.default_rng(1)
    return [
        drawn(f"task {task}", seen, seen / 2 - 1 + noise * random.standard_normal())
        for task in range(12)
        for seen in random.normal(0, 4, 60)
    ]


def test_planted_lines_are_found_again() -> None:
    found = line(planted(0.0), "bitfit")
    assert (found.intercept, found.slope, found.sd) == pytest.approx((-1.0, 0.5, 0.0), abs=1e-9)
    found = line(planted(1.5), "bitfit")
    assert (found.slope, found.sd) == (pytest.approx(0.5, abs=0.05), pytest.approx(1.5, abs=0.1))


def test_intervals_and_chances_hold_what_they_say_where_the_noise_is_normal() -> None:
    many = planted(1.5)
    trained = {item.cell: {"bitfit": 10, "lora": 100, "full": 1000} for item in many}
    figures = judge(many, trained, 256)
    assert figures.coverage == pytest.approx(0.8, abs=0.04)
    assert figures.broken == pytest.approx(0.1, abs=0.03)
    assert figures.brier < 0.8 * figures.base
    assert figures.right is not None
    assert figures.right > 0.8
    # A price so high that BitFit is always taken: its mean true gap, at a tenth of the parameters.
    mean = np.mean([item.true["bitfit"] - item.true["lora"] for item in many])
    gain, low, high, share = figures.priced[2.0]
    assert share < 0.3
    assert figures.regret["bitfit"] == pytest.approx(np.mean([item.gap("bitfit") for item in many]))
    assert low <= gain <= high
    assert gain >= mean


def test_whole_tasks_are_drawn() -> None:
    """Ten equal cells of one task are no more certain than one: the interval is that of two values."""
    values = np.array([0.0] * 10 + [1.0] * 10)
    low, high = cluster_interval(np.mean, (values,), ["a"] * 10 + ["b"] * 10)
    assert (low, high) == (0.0, 1.0)
