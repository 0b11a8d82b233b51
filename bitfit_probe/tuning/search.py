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
    """Train briefly at several rates, and take the one with the lowest held-out loss.

    Parameters
    ----------
    make
        Gives a fresh model.

    Returns
    -------
    tuple
        The options at the best rate, and every trial's rate and loss.
    """
    losses: dict[float, float] = {}
    for rate in first_rates(options.rate):
        losses[rate] = _trial(make, task, options.at(rate))
    for _ in range(EXTRA):
        outside = beyond(losses, _best(losses))
        if outside is None:
            break
        losses[outside] = _trial(make, task, options.at(outside))
    trials = [{"learning_rate": rate, "held_out_loss": losses[rate]} for rate in sorted(losses)]
    return options.at(_best(losses)), trials


def _best(losses: dict[float, float]) -> float:
    return min(losses, key=lambda rate: losses[rate] if math.isfinite(losses[rate]) else math.inf)


def _trial(make: Callable[[TuneOptions], Built], task: Task, options: TuneOptions) -> float:
    epochs = max(1, round(_SHARE * options.passes(len(task.train))))
    short = replace(options, epochs=epochs, callbacks=(), log_to=())
    with scratch_folder() as scratch:
        trainer: Any = make_trainer(make(short), task, short, scratch, keep=False)
        with running(trainer.model):
            trainer.train()
            return float(trainer.evaluate()["eval_loss"])
