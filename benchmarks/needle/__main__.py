"""Make the runs, diagnose them, and measure each step's true gain.

    python -m benchmarks.needle [--tasks DIR] [--only WORD…] [--minutes M]

DIR holds ``NAME.csv`` files with columns text and label. A row a run, a number of examples and a step goes
to benchmarks/results/needle/; runs that are there are left alone, so an interrupted benchmark goes on. At
the end, or without DIR, docs/needle.md is written from the rows.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.needle.measuring import measure
from benchmarks.needle.page import PAGE, page
from benchmarks.needle.plan import GIVEN, MODELS, RUNS, TASKS, Run, add_lora, done, lora_accuracies, rows_of
from benchmarks.needle.training import lora_run, made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="words that the runs' names hold")
    parser.add_argument(
        "--part", default="1/1", help="which part of the runs: 2/3 is every third, from the second"
    )
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no run after so many")
    options = parser.parse_args()
    if options.tasks is not None:
        part, parts = map(int, options.part.split("/"))
        perform(options.tasks, options.only, RUNS[part - 1 :: parts], options.minutes)
    PAGE.write_text(page(), encoding="utf-8")


def perform(tasks: Path, only: list[str], runs: Sequence[Run], minutes: float) -> None:
    """Make the runs and the LoRA baselines that are not there yet."""
    start, finished, known = time.monotonic(), done(), lora_accuracies()
    for run in runs:
        if run.name in finished or not all(word in run.name for word in only):
            continue
        if time.monotonic() - start > 60 * minutes:
            return
        begun = time.process_time()
        with made(run, tasks) as prepared:
            rows_of(run, list(measure(prepared)))
        print(f"{run.name}: {time.process_time() - begun:.0f} s", file=sys.stderr, flush=True)
    for model, task, given in itertools.product(MODELS, TASKS, GIVEN):
        named = all(word in f"{model} {task} lora" for word in only)
        if named and (model, task, given) not in known and time.monotonic() - start <= 60 * minutes:
            add_lora(model, task, given, lora_run(model, tasks, task, given))


if __name__ == "__main__":
    main()
