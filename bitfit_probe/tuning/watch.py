"""Signs, while training runs, that it is not what it should be. Numbers only; the callback hands them on."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bitfit_probe.align import unwrapped
from bitfit_probe.architectures import recognise
from bitfit_probe.records import TensorInfo
from bitfit_probe.tuning.master_weights import plain_name
from bitfit_probe.tuning.options import Method, SignKind
from bitfit_probe.tuning.trainable import flat_ranges

if TYPE_CHECKING:
    import torch

__all__ = ["LEAST_REACH", "Sign", "Watch", "planned_reach"]

#: AdamW moves a parameter by about its rate a step, so Σ rate bounds how far a bias can get. Of the published
#: BitFit settings (Ben Zaken et al. 2022, appendix) the smallest sum is about 0.15: rate 1e-4, RTE, 20 epochs
#: of 156 batches with linear decay. A tenth of that is no BitFit run; full fine-tuning's rates end up there.
LEAST_REACH = 0.015

#: The logged loss is this many times the best one so far, and above the first: it diverges.
_BLOWN_UP = 2.0

#: Steps with a rate above 0 after which a trained bias must have moved by one bit at least.
_STILL_AFTER = 3


@dataclass(frozen=True)
class Sign:
    """One thing that is wrong, said once.

    Attributes
    ----------
    kind
        ``frozen-bias`` (a bias that should train can't), ``still-bias`` (it can, but does not move),
        ``moving-matrix`` (something trains that should rest), ``tampered`` (something moved that gets no
        gradient), ``learning-rate-too-low``, ``blow-up``, ``nan``.
    step
        The step at which it was seen.
    message
        What it is, and what to do.
    subjects
        The parameters concerned.
    """

    kind: SignKind
    step: int
    message: str
    subjects: tuple[str, ...] = ()


@dataclass
class _Parameter:
    """A parameter, what is meant to happen to it, and what it was.

    `cancels`: its gradient is nothing but rounding (key biases). `spots`: the ranges of each watched role in
    it. `start`: its values, of biases only. `bits`: the sum of its bits.
    """

    name: str
    tensor: torch.Tensor
    expected: bool
    is_bias: bool
    cancels: bool
    spots: dict[str, list[slice]]
    layer: int | None
    start: torch.Tensor | None = None
    bits: int = 0


@dataclass
class Watch:
    """What the parameters of `model` were when training began, and what is wrong with them since.

    Parameters
    ----------
    model
        The model, possibly wrapped or adapted.
    method, roles, norms, also
        What is meant to be trained: the method, with BitFit which roles, norm scales, and further names.
    """

    model: Any
    method: Method = "bitfit"
    roles: tuple[str, ...] = ()
    norms: bool = False
    also: tuple[str, ...] = ()
    signs: list[Sign] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._parameters = list(self._describe())
        self._losses: list[float] = []
        self._moving_steps = 0
        for item in self._parameters:
            if item.expected and item.is_bias:
                item.start = item.tensor.detach().float().cpu().clone()
            item.bits = _bits(item.tensor)

    def _describe(self) -> Iterable[_Parameter]:
        tensors = {unwrapped(plain_name(name)): tensor for name, tensor in self.model.named_parameters()}
        config: Any = getattr(self.model, "config", None)
        architecture = recognise(tensors, config.to_dict() if hasattr(config, "to_dict") else {})
        for name, tensor in tensors.items():
            info = architecture.info(name, tensor.ndim)
            parts = architecture.parts(name, tuple(tensor.shape)) if info.kind == "bias" else ()
            spots = {part.role: flat_ranges(part) for part in parts} or {info.role or "other": [slice(None)]}
            trains = self._trains(info, [info.role, *spots], tensor)
            expected = trains or info.kind == "head" or name in self.also
            yield _Parameter(
                name,
                tensor,
                expected,
                info.kind == "bias",
                info.role == "k" and architecture.key_bias_cancels is not False,
                {role: at for role, at in spots.items() if not self.roles or role in self.roles},
                info.layer,
            )

    def _trains(self, info: TensorInfo, roles: list[str | None], tensor: torch.Tensor) -> bool:
        """Whether the method trains this parameter of the body."""
        if self.method == "bitfit":
            wanted = not self.roles or any(role in self.roles for role in roles)
            return wanted and info.kind in (("bias", "norm") if self.norms else ("bias",))
        return self.method == "full" or (self.method == "lora" and tensor.requires_grad)

    def at_start(self, optimizer: Any, reach: float | None) -> list[Sign]:
        """What is wrong before the first step.

        Parameters
        ----------
        optimizer
            The optimizer, or None where it is not known.
        reach
            Σ rate over the planned steps, or None where it is not known.
        """
        held = None if optimizer is None else {id(p) for g in optimizer.param_groups for p in g["params"]}
        frozen, resting = [], []
        for item in self._parameters:
            can_move = item.tensor.requires_grad and (held is None or id(item.tensor) in held)
            if self.method == "bitfit" and item.expected and item.is_bias and not can_move:
                frozen.append(item.name)
            if not item.expected and item.tensor.requires_grad:
                resting.append(item.name)
        found = []
        if frozen:
            found.append(_about("frozen-bias", 0, frozen))
        if resting:
            found.append(_about("moving-matrix", 0, resting))
        if self.method == "bitfit" and reach is not None and reach < LEAST_REACH:
            message = (
                f"the rates of all planned steps add up to {reach:.2g}, and no bias can move much further; "
                "BitFit wants rates of 5e-4 and more, or more steps"
            )
            found.append(Sign("learning-rate-too-low", 0, message))
        return self._new(found)

    def after_step(self, step: int, rate: float) -> list[Sign]:
        """Whether a trained parameter is no number any more, and whether biases stand still."""
        self._moving_steps += rate > 0
        found = []
        trained = [item for item in self._parameters if item.expected]
        bad = [] if _finite(*(item.tensor for item in trained)) else trained
        bad = [item for item in bad if not _finite(item.tensor)]
        if bad:
            found.append(_about("nan", step, [item.name for item in bad]))
        if self._moving_steps == _STILL_AFTER:
            still = [item.name for item in self._parameters if self._stands_still(item)]
            if still:
                found.append(_about("still-bias", step, still))
        return self._new(found)

    def _stands_still(self, item: _Parameter) -> bool:
        trains = item.expected and item.is_bias and item.tensor.requires_grad and not item.cancels
        return trains and _bits(item.tensor) == item.bits

    def at_log(self, step: int, logs: Mapping[str, Any]) -> list[Sign]:
        """What the loss says, and whether anything moved that should rest."""
        found = list(self._by_loss(step, logs))
        moved = [item for item in self._parameters if not item.expected and _bits(item.tensor) != item.bits]
        trained = [item.name for item in moved if item.tensor.requires_grad]
        tampered = [item.name for item in moved if not item.tensor.requires_grad]
        if trained:
            found.append(_about("moving-matrix", step, trained))
        if tampered:
            found.append(_about("tampered", step, tampered))
        return self._new(found)

    def _by_loss(self, step: int, logs: Mapping[str, Any]) -> Iterable[Sign]:
        for name in ("loss", "eval_loss", "grad_norm"):
            if name in logs and not math.isfinite(float(logs[name])):
                yield Sign("nan", step, f"{name} is {logs[name]}; lower the rate")
        loss = float(logs.get("loss", math.nan))
        if not math.isfinite(loss):
            return
        if self._losses and loss > max(_BLOWN_UP * min(self._losses), self._losses[0]):
            yield Sign(
                "blow-up",
                step,
                f"the loss is {loss:.3g} after {min(self._losses):.3g}; lower the rate or warm up longer",
            )
        self._losses.append(loss)

    def _new(self, found: Iterable[Sign]) -> list[Sign]:
        """Those of a kind that was not said yet."""
        known = {sign.kind for sign in self.signs}
        new = [sign for sign in found if sign.kind not in known]
        self.signs += new
        return new

    def movement(self) -> dict[str, float]:
        """Mean |Δb| of the trained biases by role and by layer: ``bias_moved/q``, ``bias_moved/layer_0``."""
        sums: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for item in self._parameters:
            if item.start is None or not item.is_bias:
                continue
            delta = (item.tensor.detach().float().cpu() - item.start).abs().reshape(-1)
            for role, ranges in item.spots.items():
                total = sum(float(delta[at].sum()) for at in ranges)
                count = sum(delta[at].numel() for at in ranges)
                keys = [role] if item.layer is None else [role, f"layer_{item.layer}"]
                for key in keys:
                    sums[key][0] += total
                    sums[key][1] += count
        return {f"bias_moved/{key}": total / count for key, (total, count) in sums.items() if count}


def planned_reach(scheduler: Any, steps: int) -> float | None:
    """Σ rate over the planned steps: exact for torch's LambdaLR, else the base rate times the steps.

    None where the scheduler does not tell its rates.
    """
    rates: list[float] = getattr(scheduler, "base_lrs", [])
    if not rates:
        return None
    lambdas: list[Callable[[int], float]] = getattr(scheduler, "lr_lambdas", [])
    if len(lambdas) != len(rates):
        return max(rates) * steps
    return max(r * sum(share(step) for step in range(steps)) for r, share in zip(rates, lambdas, strict=True))


_WORDS: dict[SignKind, str] = {
    "frozen-bias": "biases get no gradient or are not in the optimizer{}; "
    "set requires_grad_(True) before the optimizer is made",
    "still-bias": "biases are in training, but did not move{}; look for what cuts the gradient",
    "moving-matrix": "parameters are trained that should rest{}; "
    "set requires_grad_(False) before the optimizer is made",
    "tampered": "frozen parameters have other values than at the start{}; "
    "something writes to them outside the optimizer",
    "nan": "trained parameters are not finite{}; lower the rate, and look for a loss that overflows",
}


def _about(kind: SignKind, step: int, names: list[str]) -> Sign:
    """A sign about parameters: how many, and one of them by name."""
    return Sign(kind, step, f"{len(names)} " + _WORDS[kind].format(f" ({names[0]} for one)"), tuple(names))


def _finite(*tensors: torch.Tensor) -> bool:
    """Whether all elements are, asked of the device once: a NaN or infinity stays in a sum."""
    import torch

    sums = [tensor.detach().sum(dtype=torch.float32) for tensor in tensors]
    return not sums or bool(torch.isfinite(torch.stack(sums)).all())


def _bits(tensor: torch.Tensor) -> int:
    """The sum of the elements' bits, as integers: one element that changed changes it."""
    import torch

    integer = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
    return int(tensor.detach().contiguous().view(integer).sum(dtype=torch.int64))
