"""What might make reach foresee gains, tried on MiniLM's cells of 256 examples and the first seed.

    python -m benchmarks.recommend.remedies --tasks DIR

Adds rows to benchmarks/results/remedies.csv; what is there is not measured again. docs/forecasts.md shows
what came out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.recommend.plan import ENGLISH, Cell, examples_of, folder_of, split
from benchmarks.recommend.samples import RESULTS, append, read
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.data import TaskData
from bitfit_probe.inference import LiveModel, Pooling
from bitfit_probe.task_distance.kernel_forecast import forecast
from bitfit_probe.task_distance.kernels import DEFAULT, Kernels, kernels

TABLE = RESULTS / "remedies.csv"
FIELDS = ("task", "remedy", "method", "score", "error")
RANKS = (8,)
#: Remedies: how features are pooled, and how many directions.
MEASURED: dict[str, tuple[Pooling, int]] = {
    "as it ships": ("mean", DEFAULT.directions),
    "16 directions": ("mean", 16),
    "first token, as the head of tune reads it": ("first", DEFAULT.directions),
}
#: Made from the kernels of the first.
ALIKE = "every role and layer of biases weighs the same"


def measure(tasks: Path, task: str) -> Iterator[dict[str, Any]]:
    """Forecasts of one task under every remedy."""
    cell = Cell("minilm", task, 256, 0)
    data = examples_of(tasks, task).take(split(tasks, cell)[0])
    for remedy, (pooling, directions) in MEASURED.items():
        live = replace(LiveModel.of(open_checkpoint(folder_of("minilm"))), pooling=pooling)
        found = kernels(live, data, replace(DEFAULT, directions=directions, ranks=RANKS))
        yield from _rows(task, remedy, found, data)
        if remedy == "as it ships":
            biases = {
                place: kernel / np.trace(kernel) for place, kernel in found.bias.items() if kernel.any()
            }
            yield from _rows(task, ALIKE, replace(found, bias=biases), data)


def _rows(task: str, remedy: str, found: Kernels, data: TaskData) -> Iterator[dict[str, Any]]:
    for item in forecast(found, data).forecasts:
        values = (task, remedy, item.method, f"{item.score:.5f}", f"{item.error:.6f}")
        yield dict(zip(FIELDS, values, strict=True))


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--tasks", type=Path, required=True)
    tasks = parser.parse_args().tasks
    for task in ENGLISH:
        if task not in {row["task"] for row in read(TABLE)}:
            append(TABLE, FIELDS, list(measure(tasks, task)))
            print(task, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
