"""A short search for the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from bitfit_probe.inference import running
from bitfit_probe.outputs import scratch_folder
from bitfit_probe.tuning.build import Built
from bitfit_probe.tuning.options import TuneOptions
from bitfit_probe.tuning.train import Task, make_trainer

__all__ = ["EXTRA", "beyond", "first_rates", "search_rate"]

#: Neighbouring rates differ by half an order of magnitude.
_FACTOR = 10**0.5
#: Rates tried beyond the first three where the best one is at the edge.
EXTRA = 3
#: Share of the epochs that a trial gets.
_SHARE = 0.25


def first_rates(middle: float) -> tuple[float, float, float]:
    """The rates that a search begins with, lowest first."""
    return middle / _FACTOR, middle, middle * _FACTOR


def beyond(tried: Iterable[float], best: float) -> float | None:
    """The next rate outside those tried where the best one is at their edge; None where it lies inside.

    >>> round(beyond([1e-4, 1e-3], 1e-3), 6)
    0.003162
    """
    tried = list(tried)
    if best == max(tried):
        return best * _FACTOR
    return best / _FACTOR if best == min(tried) else None


def search_rate(
    make: Callable[[TuneOptions], Built], task: Task, options: TuneOptions
) -> tuple[TuneOptions, list[dict[str, float]]]:
    """Train briefly at several rates, and take the best on the held-out examples.

    A classifier is chosen by its accuracy, of equal ones by the loss: the loss alone chooses rates that are a
    point or two worse (docs/validation.md). Everything else is chosen by the loss.

    Parameters
    ----------
    make
        Gives a fresh model.

    Returns
    -------
    tuple
        The options at the best rate, and every trial's rate, loss and, of a classifier, accuracy.
    """
    found: dict[float, dict[str, float]] = {}
    for rate in first_rates(options.rate):
        found[rate] = _trial(make, task, options.at(rate))
    for _ in range(EXTRA):
        outside = beyond(found, _best(found))
        if outside is None:
            break
        found[outside] = _trial(make, task, options.at(outside))
    return options.at(_best(found)), [{"learning_rate": rate, **found[rate]} for rate in sorted(found)]


def _best(found: dict[float, dict[str, float]]) -> float:
    def worth(rate: float) -> tuple[float, float]:
        loss = found[rate]["held_out_loss"]
        if not math.isfinite(loss):
            return -math.inf, -math.inf
        return found[rate].get("held_out_accuracy", 0.0), -loss

    return max(found, key=worth)


def _trial(make: Callable[[TuneOptions], Built], task: Task, options: TuneOptions) -> dict[str, float]:
    epochs = max(1, round(_SHARE * options.passes(len(task.train))))
    short = replace(options, epochs=epochs, callbacks=(), log_to=())
    with scratch_folder() as scratch:
        trainer: Any = make_trainer(make(short), task, short, scratch, keep=False)
        with running(trainer.model):
            trainer.train()
            judged = trainer.evaluate()
    kept = ("loss", "accuracy")
    return {f"held_out_{name}": float(judged[f"eval_{name}"]) for name in kept if f"eval_{name}" in judged}
