"""What one run gives: movement by role and layer, and every ranking of the roles."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.rankings.tasks import Task
from bitfit_probe.data import read_examples
from bitfit_probe.measures.ablation import ablate
from bitfit_probe.measures.fisher import fisher_of
from bitfit_probe.measures.ranking import rank
from bitfit_probe.pair import Pair
from bitfit_probe.records.options import RevertOptions

#: Gradients are taken on so many of the test examples.
FISHER_EXAMPLES = 200


def measured(base: Path, tuned: Path, task: Task) -> dict[str, Any]:
    """All figures of a run; kept beside it, and taken from there where they belong to this very run."""
    run = json.loads((tuned / "run.json").read_text())
    kept = tuned / "measured.json"
    if kept.exists() and (found := json.loads(kept.read_text()))["run"] == run:
        return found
    start = time.monotonic()
    task.write_test(tuned / "test.csv")
    found = {"run": run, **_measure(base, tuned)}
    kept.write_text(json.dumps(found) + "\n")
    print(f"{tuned.name}: measured, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return found


def _measure(base: Path, tuned: Path) -> dict[str, Any]:
    pair = Pair.open(base, tuned)
    comparison = pair.comparison
    data = read_examples(tuned / "test.csv")
    live = pair.live("tuned")
    steep = fisher_of(live, pair.base, data.sample(FISHER_EXAMPLES))
    reverting = ablate(live, pair.base, comparison, data, RevertOptions(early_stop=False))
    return {
        "cells": {
            f"{row.role} {row.layer}": row.mean_abs_delta for row in comparison.roles if row.layer is not None
        },
        "roles": {
            row.group.role: {
                "size": row.mean_abs_delta,
                "beft": row.beft,
                "fisher": row.fisher,
            }
            for row in rank(comparison, "role", paper=True, fisher=steep).rows
        },
        "cell_measures": {
            row.group.label: {"size": row.mean_abs_delta, "beft": row.beft, "fisher": row.fisher}
            for row in rank(comparison, "role-layer", paper=True, fisher=steep).rows
        },
        "reverting": asdict(reverting),
        "verdicts": {row.group.role: row.verdict for row in reverting.rows},
        "largest_key_logit_change": max(
            (row.logit_change for row in reverting.rows if row.group.no_effect), default=None
        ),
    }
