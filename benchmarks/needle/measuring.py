"""What `diagnose` says of a run, beside what each step truly gains on a thousand other examples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.needle.plan import GIVEN, Run
from benchmarks.needle.training import Prepared
from bitfit_probe.data import TaskData
from bitfit_probe.diagnosis import Subject, diagnose_subject
from bitfit_probe.diagnosis.interventions import all_steps
from bitfit_probe.diagnosis.outcomes import Outcome
from bitfit_probe.pair import Pair

__all__ = ["measure"]


def measure(run: Run, prepared: Prepared) -> Iterator[dict[str, Any]]:
    """A row a number of given examples and a step."""
    whole = Subject(Pair.open(prepared.base, prepared.tuned), prepared.judged, prepared.given)
    before, truth = whole.before, {}
    for given in GIVEN:
        few = prepared.given.take(range(given))
        truth |= dict(_true(_fitting_on(whole, few), set(truth)))
        found = diagnose_subject(Subject(Pair.open(prepared.base, prepared.tuned), few))
        for row in found.interventions:
            outcome = truth.get(row.name)
            yield {
                "given": given,
                "before": f"{before.scores.mean():.4f}",
                "step": row.name,
                "gain": f"{row.gain:.4f}",
                "low": f"{row.interval[0]:.4f}",
                "high": f"{row.interval[1]:.4f}",
                "examples": row.examples,
                "helps": int(row.helps),
                "advised": int(row.name == found.advice),
                "true_gain": "" if outcome is None else f"{(outcome.scores - before.scores).mean():.4f}",
                "true_loss_gain": "" if outcome is None else f"{(before.losses - outcome.losses).mean():.4f}",
            }


def _fitting_on(whole: Subject, few: TaskData) -> Subject:
    """The same judged examples with fewer to fit on; passes that were made are not made again."""
    if whole.train is None or len(few) == len(whole.train):
        return whole
    fewer = replace(whole, train=few)
    rows = np.arange(len(whole.data) + len(few))
    fewer.once("tuned", lambda: whole.tuned.take(rows))
    fewer.once("base body", lambda: whole.base_body.take(rows))
    fewer.once("served", lambda: whole.served)
    return fewer


def _true(subject: Subject, known: set[str]) -> Iterator[tuple[str, Outcome]]:
    """What each step makes of the judged examples; what nothing is fitted for is not run twice."""
    for step in all_steps(subject):
        if step.fitted or step.name not in known:
            yield step.name, step.look(None)
