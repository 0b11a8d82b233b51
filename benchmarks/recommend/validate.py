"""Fit what the runs say of the methods, judge it on tasks it was not fitted to, and write what came out.

    python -m benchmarks.recommend.validate [--write]

Writes bitfit_probe/recommendation/calibration.json and docs/validation.md. Every figure is of drawings of
held-out examples (benchmarks/recommend/heldout.py); what is judged on a task was fitted to the others.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.recommend import page
from benchmarks.recommend.clusters import cluster_interval
from benchmarks.recommend.heldout import CLASSES, HELD_OUT, Drawn, Swept, draws, nothing_learned, swept
from benchmarks.recommend.plan import Cell
from benchmarks.recommend.samples import cases
from bitfit_probe.recommendation.calibration import Calibration, Line
from bitfit_probe.recommendation.outlook import Outlook, choose
from bitfit_probe.records.recommendation import METHODS

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "bitfit_probe" / "recommendation" / "calibration.json"
PAGE = ROOT / "docs" / "validation.md"
OTHERS = ("bitfit", "full")
#: What the price is by default, and others that the page shows.
PRICE = 0.5
PRICES = (0.0, 0.25, 0.5, 1.0, 2.0)
#: What a statement "within a point" has to be sure of, and how many of them a verdict needs.
SURE, FEWEST = 0.8, 20

Floats = npt.NDArray[np.float64]


def over(drawn: Sequence[Drawn], method: str, kind: str) -> Floats:
    """Points above LoRA, ``seen`` or ``true``, shape (drawings,)."""
    return np.array([getattr(item, kind)[method] - getattr(item, kind)["lora"] for item in drawn])


def line(drawn: Sequence[Drawn], method: str) -> Line:
    """The least-squares line from seen gaps to true ones; every task counts the same."""
    seen, true = over(drawn, method, "seen"), over(drawn, method, "true")
    weights = weights_of(drawn)
    slope, intercept = np.polyfit(seen, true, 1, w=np.sqrt(weights))
    missed = true - intercept - slope * seen
    return Line(float(intercept), float(slope), float(np.sqrt(np.average(missed**2, weights=weights))))


def weights_of(drawn: Sequence[Drawn]) -> Floats:
    """One over how often a drawing's task is there."""
    tasks = [item.cell.task for item in drawn]
    counts = {task: tasks.count(task) for task in set(tasks)}
    return np.array([1 / counts[task] for task in tasks])


@dataclass(frozen=True)
class Judged:
    """What so many held-out examples are worth, on tasks left out of the fit.

    Attributes
    ----------
    count, cells
        Held-out examples, and how many cells have as many twice.
    slope, sd
        Of the line for BitFit, fitted to all tasks.
    regret
        By method: points below the best, its rate chosen by the held-out examples.
    default
        The same at the default rate.
    looks_best
        Share of drawings in which the method that looks best is within a point of the best.
    priced
        By price: points above always-LoRA of a trial among BitFit and LoRA, with a 95 % interval over tasks,
        and the parameters stored beside LoRA's (geometric mean).
    coverage
        Share of BitFit's gaps in their 80 % intervals.
    brier, base
        Mean squared error of the chance that BitFit loses at most a point, and that of always saying how
        often it does.
    broken
        Share of "at most X points (90 %)" that were exceeded.
    said, right
        How many drawings say "within a point" at 80 % and more, and the share in which that was right.
    """

    count: int
    cells: int
    slope: float
    sd: float
    regret: Mapping[str, float]
    default: Mapping[str, float]
    looks_best: float
    priced: Mapping[float, tuple[float, float, float, float]]
    coverage: float
    brier: float
    base: float
    broken: float
    said: int
    right: float | None


def judge(drawn: Sequence[Drawn], trained: Mapping[Cell, Mapping[str, int]], count: int) -> Judged:
    """Judge the drawings of so many held-out examples, each task by a line fitted to the others."""
    outlooks = dict(_left_out(drawn))
    bitfit = [outlooks[number]["bitfit"] for number in range(len(drawn))]
    true = over(drawn, "bitfit", "true")
    z = (true - [item.over_lora.mean for item in bitfit]) / [item.over_lora.sd for item in bitfit]
    chance = np.array([item.within(1.0) for item in bitfit])
    came = (true >= -1.0).astype(float)
    sure = chance >= SURE
    weights = weights_of(drawn)
    usual = float(np.average(came, weights=weights))
    fitted = line(drawn, "bitfit")

    def mean(values: Any) -> float:
        return float(np.average(values, weights=weights))

    return Judged(
        count=count,
        cells=len({item.cell for item in drawn}),
        slope=fitted.slope,
        sd=fitted.sd,
        regret={method: mean([item.gap(method) for item in drawn]) for method in METHODS},
        default={
            method: mean([max(item.true.values()) - item.default[method] for item in drawn])
            for method in METHODS
        },
        looks_best=mean([item.gap(max(item.seen, key=item.seen.__getitem__)) <= 1 for item in drawn]),
        priced={price: _priced(drawn, outlooks, trained, price) for price in PRICES},
        coverage=mean(np.abs(z) <= 1.2816),
        brier=mean((chance - came) ** 2),
        base=mean((usual - came) ** 2),
        broken=mean(true < [-item.at_most(0.9) for item in bitfit]),
        said=int(sure.sum()),
        right=float(came[sure].mean()) if sure.any() else None,
    )


def _left_out(drawn: Sequence[Drawn]) -> Iterator[tuple[int, dict[str, Outlook]]]:
    """Of each drawing what is expected of BitFit and LoRA, by a line fitted to other tasks."""
    for task in {item.cell.task for item in drawn}:
        fitted = line([item for item in drawn if item.cell.task != task], "bitfit")
        for number, item in enumerate(drawn):
            if item.cell.task == task:
                spread = fitted.at(item.seen["bitfit"] - item.seen["lora"])
                yield number, {"bitfit": Outlook("bitfit", spread, "trial"), "lora": _LORA}


_LORA = Outlook("lora", Line(0.0, 0.0, 0.0).at(0.0), "trial")


def _priced(
    drawn: Sequence[Drawn],
    outlooks: Mapping[int, Mapping[str, Outlook]],
    trained: Mapping[Cell, Mapping[str, int]],
    price: float,
) -> tuple[float, float, float, float]:
    """Points above always-LoRA with their interval, and stored parameters beside LoRA's."""
    gains, shares = [], []
    for number, item in enumerate(drawn):
        counts = trained[item.cell]
        method = choose(list(outlooks[number].values()), counts, price)
        gains.append(item.true[method] - item.true["lora"])
        shares.append(np.log(counts[method] / counts["lora"]))
    tasks = [item.cell.task for item in drawn]
    low, high = cluster_interval(np.mean, (np.array(gains),), tasks)
    weights = weights_of(drawn)
    return (
        float(np.average(gains, weights=weights)),
        low,
        high,
        float(np.exp(np.average(shares, weights=weights))),
    )


def calibration(
    cells: Sequence[Swept], by_count: Mapping[int, Sequence[Drawn]], judged: Sequence[Judged]
) -> dict[str, Any]:
    """What ships, as JSON. `passed` is false everywhere until the tasks kept back have been opened."""
    prior = by_count[256]
    bitfit = over(prior, "bitfit", "true")
    weights = weights_of(prior)
    return {
        "made_by": "python -m benchmarks.recommend.validate --write",
        "cells": len({item.cell for item in prior}),
        "tasks": len({item.cell.task for item in prior}),
        "ranges": {
            "parameters": _range(cell.trained["full"] for cell in cells),
            "classes": _range(CLASSES.get(cell.cell.task, 2) for cell in cells),
            "examples": _range(cell.cell.size for cell in cells),
        },
        "prior": {method: _spread(over(prior, method, "true"), weights) for method in METHODS},
        "within": [round(float(np.average(bitfit >= -points, weights=weights)), 3) for points in (1, 2)],
        "lines": {
            method: {
                count: [round(value, 4) for value in vars(line(drawn, method)).values()]
                for count, drawn in by_count.items()
            }
            for method in OTHERS
        },
        "right": {
            item.count: round(item.right, 3)
            for item in judged
            if item.right is not None and item.said >= FEWEST
        },
        "passed": dict.fromkeys(by_count, False),
    }


def _range(values: Iterable[int]) -> list[int]:
    found = list(values)
    return [min(found), max(found)]


def _spread(values: Floats, weights: Floats) -> list[float]:
    mean = np.average(values, weights=weights)
    return [
        round(float(mean), 4),
        round(float(np.sqrt(np.average((values - mean) ** 2, weights=weights))), 4),
    ]


def validated() -> tuple[list[Swept], dict[int, list[Drawn]], list[Judged]]:
    """Cells, drawings by number of held-out examples, and what each number is worth."""
    cells = [cell for cell in swept() if cell.cell[:3] not in nothing_learned()]
    trained = {cell.cell: cell.trained for cell in cells}
    by_count = {count: draws(cells, count) for count in HELD_OUT}
    return cells, by_count, [judge(drawn, trained, count) for count, drawn in by_count.items()]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    cells, by_count, judged = validated()
    stored = calibration(cells, by_count, judged)
    text = page.validation(cases(), cells, judged, Calibration.of(stored))
    if not arguments.write:
        print(text)
        return
    SHIPPED.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
