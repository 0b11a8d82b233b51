"""How a model scores on labelled examples."""

from __future__ import annotations

import numpy as np

from bitfit_probe.data import TaskData
from bitfit_probe.inference import LiveModel, ask, logits_of, question_of

__all__ = ["score"]


def score(live: LiveModel, data: TaskData) -> tuple[float, ...]:
    """For each example 1 where it got its class and 0 where not; for a quantity 1 − (error / deviation)².

    The mean is the accuracy, or R².

    Parameters
    ----------
    live
        The model.
    data
        Labelled examples.

    Raises
    ------
    ModelError
        The model lacks its head or tokenizer, or can't be run.
    DataError
        The labels are not this model's.
    """
    question = question_of(data, live)
    found = np.empty(len(data))
    for batch in ask(live, question, data):
        logits = logits_of(live.model, batch)
        right = question.right(logits, batch.targets)
        values = 1 - question.losses(logits, batch.targets) if right is None else right
        found[list(batch.rows)] = values.double().numpy()
    return tuple(map(float, found))
