"""Run what is not in the table yet.

    python -m benchmarks.recommend --tasks DIR [--workers 2] [--minutes M] [--only model=minilm size=64 …]

DIR holds CSV files with the columns text, text_pair and label. Every finished run adds a row to
benchmarks/results/runs.csv, every measured cell rows to benchmarks/results/evidence.csv; stopped at any
moment, the same command goes on. MiniLM and the chemical models come from `python -m benchmarks.materials`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.recommend import evidence, training
from benchmarks.recommend.plan import Cell, Run, cells, planned
from benchmarks.recommend.samples import EVIDENCE, RUNS, append, cell_of, read, run_of


def missing_runs() -> list[Run]:
    """What is planned and not done. What comes of a sweep is planned once the sweep is done."""
    known = {run_of(row): float(row["accuracy"]) for row in read(RUNS)}
    return [run for run in planned(known) if run not in known]


def missing_cells() -> list[Cell]:
    done = {cell_of(row) for row in read(EVIDENCE)}
    return [cell for cell in cells() if cell not in done]


def finished(
    work: Callable[[Any], Any], jobs: Sequence[Any], workers: int, until: float
) -> Iterator[tuple[Any, Any]]:
    """Each job with its result, as they come; none is begun after `until` (monotonic seconds)."""
    waiting = list(jobs)
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        running: dict[Any, Any] = {}
        while waiting or running:
            while waiting and len(running) < workers and time.monotonic() < until:
                job = waiting.pop(0)
                running[pool.submit(work, job)] = job
            if not running:
                return
            done = next(as_completed(running))
            yield running.pop(done), done.result()


def wanted(job: Cell | Run, only: Sequence[str]) -> bool:
    cell = job.cell if isinstance(job, Run) else job
    conditions = [text.partition("=") for text in only]
    return all(str(getattr(cell, name)) in values.split(",") for name, _, values in conditions)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no run after so long")
    parser.add_argument("--only", nargs="*", default=(), help="such as model=minilm size=64,256")
    parser.add_argument("--evidence", action="store_true", help="measure the cells instead of training")
    arguments = parser.parse_args()
    until = time.monotonic() + 60 * arguments.minutes
    missing: Callable[[], list[Any]]
    if arguments.evidence:
        missing, work, path, fields = missing_cells, evidence.measure, EVIDENCE, evidence.FIELDS
    else:
        missing, work, path, fields = missing_runs, training.perform, RUNS, training.FIELDS
    RUNS.parent.mkdir(exist_ok=True)
    # Results bring new runs into the plan.
    while (jobs := [job for job in missing() if wanted(job, arguments.only)]) and time.monotonic() < until:
        for number, (job, found) in enumerate(
            finished(partial(work, arguments.tasks), jobs, arguments.workers, until), 1
        ):
            append(path, fields, found if isinstance(found, list) else [found])
            print(f"{number} of {len(jobs)}: {job}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
