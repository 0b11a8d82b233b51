"""Make the runs, diagnose them, and measure each step's true gain.

    python -m benchmarks.needle --tasks DIR [--only WORD…] [--minutes M]

TASKS holds ``NAME.csv`` files with columns text and label. A row a run, a number of examples and a step goes
to benchmarks/results/needle/; runs that are there are left alone, so an interrupted benchmark goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks.needle.measuring import measure
from benchmarks.needle.plan import RUNS, done, rows_of
from benchmarks.needle.training import made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[], help="words that the runs' names hold")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no run after so many")
    options = parser.parse_args()
    start, finished = time.monotonic(), done()
    for run in RUNS:
        if run.name in finished or not all(word in run.name for word in options.only):
            continue
        if time.monotonic() - start > 60 * options.minutes:
            break
        begun = time.process_time()
        with made(run, options.tasks) as prepared:
            rows_of(run, list(measure(prepared)))
        print(f"{run.name}: {time.process_time() - begun:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
