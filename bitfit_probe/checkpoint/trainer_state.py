"""What transformers' Trainer leaves beside the weights: ``trainer_state.json``, read once for everyone.

The file is a stranger's: a step that is no count, a value that is no number and an entry that is no object
are passed over, and of two values at one step the later one counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, TypeAlias, TypeGuard

from bitfit_probe.frozen import Frozen

__all__ = ["TRAINER_STATE", "Series", "TrainerState", "finite"]

TRAINER_STATE = "trainer_state.json"

#: Values by step, in the order of the steps, one a step.
Series: TypeAlias = tuple[tuple[int, float], ...]

#: A count beyond this is none, and a number beyond that may overflow in a sum.
_MOST_STEPS, _MOST = 1 << 50, 1e300


class TrainerState(Frozen):
    """The log of a run.

    Attributes
    ----------
    steps
        Optimizer steps up to the save (``global_step``); None where it does not say.
    losses
        Training losses by step, NaN and infinities among them.
    rates
        Learning rates by step, as they were logged.
    gradient_norms
        Norms of the gradient by step, NaN and infinities among them.
    eval_losses, eval_accuracies
        Evaluations by step, finite ones only.
    best_checkpoint
        Name of the folder that the trainer found best; None where it names none.
    best_metric
        What it found there.
    """

    steps: int | None = None
    losses: Series = ()
    rates: Series = ()
    gradient_norms: Series = ()
    eval_losses: Series = ()
    eval_accuracies: Series = ()
    best_checkpoint: str | None = None
    best_metric: float | None = None

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> TrainerState:
        """What the JSON object in the file says; whatever it is, this raises nothing."""
        history = content.get("log_history")
        entries = [entry for entry in history if isinstance(entry, dict)] if isinstance(history, list) else []
        steps, best, metric = (
            content.get(key) for key in ("global_step", "best_model_checkpoint", "best_metric")
        )
        return cls(
            steps=steps if _is_count(steps) else None,
            losses=_series(entries, "loss"),
            rates=_series(entries, "learning_rate"),
            gradient_norms=_series(entries, "grad_norm"),
            eval_losses=finite(_series(entries, "eval_loss")),
            eval_accuracies=finite(_series(entries, "eval_accuracy")),
            best_checkpoint=_folder_name(best) if isinstance(best, str) else None,
            best_metric=float(metric) if _is_number(metric) and math.isfinite(metric) else None,
        )

    @property
    def highest_rate(self) -> float | None:
        """The highest finite learning rate; None where none was logged."""
        return max((rate for _, rate in finite(self.rates)), default=None)


def finite(series: Series) -> Series:
    """The values that are numbers to reckon with."""
    return tuple((step, value) for step, value in series if abs(value) < _MOST)


def _folder_name(path: str) -> str | None:
    """The last part of a path, of Windows as well."""
    return PurePosixPath(path.replace("\\", "/")).name or None


def _series(entries: list[dict[str, Any]], key: str) -> Series:
    return tuple(sorted(dict(_values(entries, key)).items()))


def _values(entries: list[dict[str, Any]], key: str) -> Iterator[tuple[int, float]]:
    for entry in entries:
        step, value = entry.get("step"), entry.get(key)
        if _is_count(step) and _is_number(value):
            yield step, float(value)


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_STEPS


def _is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a float, or a whole number that fits one."""
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MOST_STEPS
    return whole or isinstance(value, float)
