"""Is the log of a run that of a healthy one? What speaks against it, in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bitfit_probe.checkpoint.trainer_state import TrainerState

__all__ = ["doubts", "first_and_last"]

#: A scaler of float16 skips a few steps at the start, whose gradients are infinite or NaN.
_SKIPPED = 0.2
#: With fewer logged losses a tenth of them is one, and one says little.
_LOSSES = 10
#: A loss that ends this much above its start rose; between that and no change it did not fall.
_ROSE = 1.1
#: A rate of 0 at more than half of the logged steps is no schedule.
_IDLE = 0.5


def doubts(log: TrainerState) -> tuple[str, ...]:
    """What is wrong with a log: gradients, rates, losses; empty where nothing is.

    Whether another step was better is not asked here: rules say which (BP206, BP208, BP210).
    """
    return tuple(doubt for ask in _ASKED for doubt in ask(log))


def first_and_last(losses: Sequence[float]) -> tuple[float, float] | None:
    """Means of the first and the last tenth, as the loss of a single step says little; None without any."""
    if not losses:
        return None
    tenth = max(len(losses) // 10, 1)
    first, last = losses[:tenth], losses[-tenth:]
    return math.fsum(first) / tenth, math.fsum(last) / tenth


def _gradients(log: TrainerState) -> Iterator[str]:
    norms = [norm for _, norm in log.gradient_norms]
    bad = sum(not math.isfinite(norm) for norm in norms)
    if bad > _SKIPPED * len(norms) and bad > 1:
        yield f"{bad} of {len(norms)} logged gradient norms are NaN or infinite"
    elif len(norms) > 1 and not any(norms):
        yield "every logged gradient norm is 0"


def _rates(log: TrainerState) -> Iterator[str]:
    rates = [rate for _, rate in log.rates]
    idle = sum(rate == 0 for rate in rates)
    if len(rates) > 1 and idle > _IDLE * len(rates):
        yield f"the learning rate is 0 at {idle} of {len(rates)} logged steps"


def _losses(log: TrainerState) -> Iterator[str]:
    losses = [loss for _, loss in log.losses]
    found = first_and_last(losses) if len(losses) >= _LOSSES else None
    if found is None or not all(map(math.isfinite, found)):
        return
    first, last = found
    if losses.count(losses[0]) == len(losses):
        yield f"the training loss is {losses[0]:.3g} at every logged step"
    elif last > _ROSE * first > 0:
        yield f"the training loss rose from {first:.3g} to {last:.3g}"


_ASKED: tuple[Callable[[TrainerState], Iterator[str]], ...] = (_gradients, _rates, _losses)
