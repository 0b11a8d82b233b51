"""What a checkpoint tells that was tuned for the task already: its score, and what moved in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bitfit_probe.data import TaskData
from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.measures.ranking import rank
from bitfit_probe.measures.scoring import score
from bitfit_probe.measures.spectra import spectra
from bitfit_probe.measures.training_sufficiency import adequacy_of
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence
from bitfit_probe.records.measures import Spectrum
from bitfit_probe.task_distance.intervals import bootstrap_mean

__all__ = ["Look", "look", "middle_rank", "steps_taken"]

#: So many roles are named as those that moved most.
_NAMED = 3


@dataclass(frozen=True)
class Look:
    """What one tuned checkpoint tells; None where it could not be had."""

    path: str
    score: float | None = None
    effective_rank: float | None = None
    steps: int | None = None
    evidence: tuple[Evidence, ...] = ()


def look(pair: Pair, data: TaskData) -> Look:
    """Score a tuned checkpoint on `data`, and say what moved in it.

    What can't be read or run is left out: the findings say why.
    """
    path = str(pair.path)
    if not pair.compared:
        return Look(path)
    evidence = [_moved(path, pair), _enough(path, pair)]
    value = None
    try:
        each = np.asarray(score(pair.live("tuned"), data))
    except BitfitProbeError as error:
        evidence.append(Evidence("tuned_score", None, about=path, source=str(error)))
    else:
        value, interval = bootstrap_mean(each)
        unit = "accuracy" if data.task == "classification" else "R²"
        source = "the given examples, which it may have been trained on"
        evidence.append(Evidence("tuned_score", value, unit, interval, path, source))
    found = spectra(pair.alignment, pair.comparison)
    middle = middle_rank(found)
    if middle is not None:
        source = f"median of {len(found)} matrices"
        evidence.append(Evidence("effective_rank", middle, "", None, path, source))
    return Look(path, value, middle, steps_taken(pair), tuple(evidence))


def steps_taken(pair: Pair) -> int | None:
    """Optimizer steps of a run by what lies beside its weights; None where that does not say."""
    return pair.trainer_state.steps if pair.trainer_state is not None else None


def middle_rank(spectra: Sequence[Spectrum]) -> float | None:
    """The median of the matrices' effective ranks; None without any."""
    return float(np.median([item.effective_rank for item in spectra])) if spectra else None


def _enough(path: str, pair: Pair) -> Evidence:
    """Whether it was trained enough, and why."""
    found = adequacy_of(pair)
    return Evidence("trained_enough", found.state, "", None, path, "; ".join(found.reasons))


def _moved(path: str, pair: Pair) -> Evidence:
    """The verdict, and the roles whose biases moved most."""
    rows = [row for row in rank(pair.comparison, "role").rows if row.mean_abs_delta][:_NAMED]
    roles = ", ".join(str(row.group.label) for row in rows)
    moved = f"biases moved most: {roles}" if roles else "no bias moved"
    return Evidence("verdict", pair.comparison.verdict, "", None, path, moved)
