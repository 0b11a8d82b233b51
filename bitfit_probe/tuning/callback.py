"""`BitFitProbeCallback`: watches a Trainer, logs how far the biases got, and stops it where asked to.

The class is made when it is first asked for, since its base class comes with transformers.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from bitfit_probe.inference.libraries import torch_library, transformers_library
from bitfit_probe.tuning.options import Method, SignKind
from bitfit_probe.tuning.watch import Sign, Watch, planned_reach

if TYPE_CHECKING:
    BitFitProbeCallback: Any

__all__ = ["BitFitProbeCallback"]

_LOG = logging.getLogger("bitfit_probe")


@cache
def _make() -> Any:
    torch_library()  # without it transformers has no Trainer
    transformers = transformers_library()
    space = {"__doc__": _Watching.__doc__, "__module__": __name__}
    return type("BitFitProbeCallback", (_Watching, transformers.TrainerCallback), space)


class _Watching:
    """Watch a bias-only training run.

    Hand it to a Trainer by ``callback.attach(trainer)``: then it comes before the Trainer's
    reporters, and how far the biases moved stands in TensorBoard and whatever else the Trainer
    logs to. Given in ``callbacks=[…]`` it watches and stops as well, but its figures reach
    ``log_history`` only.

    Parameters
    ----------
    method, roles, norms, also
        What is meant to be trained: see `bitfit_probe.tuning.watch.Watch`.
    stop_on
        Kinds of signs that end the training, such as ``("nan", "blow-up")``.
    quiet
        Keep signs to itself instead of logging a warning for each.

    Attributes
    ----------
    signs
        What was seen, in order; one of a kind.
    """

    def __init__(
        self,
        method: Method = "bitfit",
        *,
        roles: Sequence[str] = (),
        norms: bool = False,
        also: Sequence[str] = (),
        stop_on: Sequence[SignKind] = (),
        quiet: bool = False,
    ) -> None:
        self._meant: dict[str, Any] = {
            "method": method,
            "roles": tuple(roles),
            "norms": norms,
            "also": tuple(also),
        }
        self._stop_on, self._quiet = frozenset(stop_on), quiet
        self._watch: Watch | None = None
        self._stopping = False

    @property
    def signs(self) -> tuple[Sign, ...]:
        return tuple(self._watch.signs) if self._watch else ()

    def attach(self, trainer: Any) -> Any:
        """Put it before the Trainer's other callbacks; gives itself back."""
        trainer.callback_handler.callbacks.insert(0, self)
        return self

    def on_train_begin(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        self._watch = Watch(known["model"], **self._meant)
        scheduler, optimizer = _inner(known.get("lr_scheduler")), _inner(known.get("optimizer"))
        # How far a step goes is known of Adam's kin only.
        adam = "adam" in type(optimizer).__name__.lower()
        reach = planned_reach(scheduler, state.max_steps) if adam else None
        self._take(self._watch.at_start(optimizer, reach), control)

    def on_step_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        if self._watch is None:
            return
        optimizer = known.get("optimizer")
        rate = max((group["lr"] for group in optimizer.param_groups), default=0.0) if optimizer else 1.0
        self._take(self._watch.after_step(state.global_step, rate), control)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **known: Any) -> None:
        if self._watch is None or not logs:
            return
        self._take(self._watch.at_log(state.global_step, logs), control)
        if "loss" in logs:
            moved = self._watch.movement()
            logs |= moved
            state.log_history[-1] |= moved

    def _take(self, signs: list[Sign], control: Any) -> None:
        for sign in signs:
            self._stopping = self._stopping or sign.kind in self._stop_on
            if not self._quiet:
                _LOG.warning("step %d: %s: %s", sign.step, sign.kind, sign.message)
        # Trainer begins every epoch with the switch off.
        if self._stopping:
            control.should_training_stop = True


def _inner(wrapped: Any) -> Any:
    """The optimizer or scheduler inside accelerate's wrapper."""
    for name in ("optimizer", "scheduler"):
        if type(wrapped).__module__.startswith("accelerate") and hasattr(wrapped, name):
            return getattr(wrapped, name)
    return wrapped


def __getattr__(name: str) -> Any:
    if name == "BitFitProbeCallback":
        return _make()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
