"""How a checkpoint scores on labelled examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.data import TaskData
from bitfit_probe.measures.examples import batches, logits_of
from bitfit_probe.measures.runnable import runnable

__all__ = ["score"]


def score(
    tuned: Checkpoint, base: Checkpoint, data: TaskData, model_dir: str | Path | None = None
) -> tuple[float, ...]:
    """For each example 1 where it got its class and 0 where not; for a quantity 1 − (error / deviation)².

    The mean is the accuracy, or R².

    Parameters
    ----------
    tuned, base
        The checkpoint to run, and its base, whose config and tokenizer help out.
    data
        Labelled examples.
    model_dir
        Directory of config.json and tokenizer, where neither checkpoint has them.

    Raises
    ------
    ModelError
        The model can't be built or run.
    DataError
        The labels are not this model's.
    """
    import torch

    run = runnable(tuned, base, data, model_dir)
    found = np.empty(len(data))
    with torch.inference_mode():
        for batch in batches(data, run.question, run.tokenizer, run.model):
            logits = logits_of(run.model, batch)
            right = run.question.right(logits, batch.targets)
            values = 1 - run.question.losses(logits, batch.targets) if right is None else right
            found[list(batch.rows)] = values.double().numpy()
    return tuple(map(float, found))
