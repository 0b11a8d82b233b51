"""What `diagnose` says of a run, beside what each step truly gains on a thousand other examples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.needle.plan import GIVEN
from benchmarks.needle.training import Prepared
from bitfit_probe.data import TaskData
from bitfit_probe.diagnosis import Subject, diagnose_subject
from bitfit_probe.diagnosis.interventions import all_steps
from bitfit_probe.diagnosis.trying import Tried, try_steps
from bitfit_probe.pair import Pair

__all__ = ["measure"]


def measure(prepared: Prepared) -> Iterator[dict[str, Any]]:
    """A row a number of given examples and a step.

    True gains are of a thousand other examples; what a first quarter of these shows to be worse than the best
    step, with 99 % confidence, is given up after it, as `diagnose` does.
    """
    pair = Pair.open(prepared.base, prepared.tuned)
    whole = Subject(pair, prepared.judged, prepared.given)
    before = whole.before.scores.mean()
    truth: dict[str, Tried] = {}
    for given in GIVEN:
        few = prepared.given.take(range(given))
        truth |= _true(_fitting_on(whole, few), set(truth))
        found = diagnose_subject(Subject(pair, few))
        for row in found.interventions:
            seen = truth.get(row.name)
            advised = row.name == found.advice
            yield {
                "given": given,
                "before": f"{before:.4f}",
                "step": row.name,
                "gain": f"{row.gain:.4f}",
                "low": f"{row.interval[0]:.4f}",
                "high": f"{row.interval[1]:.4f}",
                "examples": row.examples,
                "helps": int(row.helps),
                "advised": int(advised),
                "honest_gain": f"{found.gain.value:.4f}" if advised and found.gain else "",
                "true_gain": "" if seen is None else f"{seen.gains.mean():.4f}",
                "true_loss_gain": "" if seen is None else f"{seen.loss_gains.mean():.4f}",
                "true_examples": "" if seen is None else len(seen.rows),
            }


def _fitting_on(whole: Subject, few: TaskData) -> Subject:
    """The same judged examples with fewer to fit on; passes that were made are not made again."""
    assert whole.train is not None
    if len(few) == len(whole.train):
        return whole
    fewer = replace(whole, train=few)
    rows = np.arange(len(whole.data) + len(few))
    fewer.once("tuned", lambda: whole.tuned.take(rows))
    fewer.once("base body", lambda: whole.base_body.take(rows))
    fewer.once("served", lambda: whole.served)
    return fewer


def _true(subject: Subject, known: set[str]) -> dict[str, Tried]:
    """What each step gains on the judged examples; what nothing is fitted for is not run twice."""
    steps = [step for step in all_steps(subject) if step.fitted or step.name not in known]
    found = try_steps(steps, subject.before, shares=True)
    return {item.step.name: item for item in found}
