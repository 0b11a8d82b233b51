"""What is measured of a cell before anything is trained: the same numbers as `bitfit-probe distance`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.distances import rows_of
from benchmarks.recommend.plan import Cell, examples_of, folder_of, split
from bitfit_probe.inference import quietly
from bitfit_probe.task_distance import Reference, english_reference, measure_distance

__all__ = ["FIELDS", "measure"]

FIELDS = ("model", "task", "size", "seed", "measure", "value", "low", "high", "unit")


def measure(tasks: Path, cell: Cell) -> list[dict[str, Any]]:
    """Rows of one cell, one a number, from the examples that train."""
    import torch

    torch.set_num_threads(1)
    start = time.perf_counter()
    data = examples_of(tasks, cell.task).take(split(tasks, cell)[0])
    texts = english_reference() if cell.task != "bbbp" else ()
    with quietly():
        found = measure_distance(folder_of(cell.model), data, Reference("English", texts))
    rows = rows_of(found, cell.model, cell.task, time.perf_counter() - start)
    rows.append({"measure": "classes", "value": found.classes})
    return [cell._asdict() | row for row in rows]
