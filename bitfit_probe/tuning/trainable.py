"""Which parameters a method trains, by what their names mean."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bitfit_probe.align import unwrapped
from bitfit_probe.architectures import Architecture, is_bias, recognise
from bitfit_probe.errors import ModelError, NoBiasesError, SettingsError
from bitfit_probe.records import Part, TensorInfo
from bitfit_probe.tuning.options import TuneOptions

if TYPE_CHECKING:
    import torch

__all__ = ["Chosen", "choose", "flat_ranges", "lora_targets", "only", "short_names"]

#: What peft puts into the names of its factors and of modules that it trains whole.
_PEFT = re.compile(r"\.(lora_[AB]|modules_to_save)\.default")


@dataclass(frozen=True)
class Chosen:
    """What is trained.

    Attributes
    ----------
    architecture
        The architecture that the names were read by.
    names
        Parameters that get gradients.
    parts
        For fused biases of which only some roles are trained: the ranges of elements that may move.
    new
        Parameters that the base does not have; they are trained whatever the method.
    """

    architecture: Architecture
    names: tuple[str, ...]
    parts: Mapping[str, tuple[slice, ...]]
    new: tuple[str, ...]

    def roles_of(self, name: str, shape: tuple[int, ...]) -> dict[str, int]:
        """How many elements of a parameter are trained, by role (``other`` where it has none)."""
        name = _PEFT.sub("", unwrapped(name))
        cut = self.architecture.parts(name, shape) if len(shape) == 1 else ()
        role = self.architecture.info(name, len(shape)).role
        if name in self.parts:
            allowed = self.parts[name]
            counts = {
                part.role: sum(s.stop - s.start for s in flat_ranges(part) if s in allowed) for part in cut
            }
            return {part: count for part, count in counts.items() if count}
        if cut:
            return {part.role: sum(s.stop - s.start for s in flat_ranges(part)) for part in cut}
        return {role or "other": math.prod(shape)}


def choose(model: Any, options: TuneOptions, missing: Iterable[str]) -> Chosen:
    """Pick the parameters that `options.method` trains in `model`.

    Parameters
    ----------
    model
        The model, before any adapter is put into it.
    missing
        Parameters that the base did not hold. Frozen, they would stay random, so they are trained.

    Raises
    ------
    NoBiasesError
        BitFit was asked for, and there is no bias.
    SettingsError
        A role is asked for that no bias has.
    ModelError
        There is nothing to train.
    """
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    architecture = recognise(shapes, model.config.to_dict())
    infos = {name: architecture.info(name, len(shape)) for name, shape in shapes.items()}
    new = tuple(name for name in missing if name in shapes)
    _check_body(model, infos, new)
    parts: dict[str, tuple[slice, ...]] = {}
    if options.method == "full":
        body = list(shapes)
    elif options.method == "bitfit":
        body, parts = _biases(architecture, shapes, infos, options)
    else:
        body = []
    heads = [name for name in shapes if name in new or _trains_as_head(name, infos[name], model, options)]
    names = tuple(name for name in shapes if name in {*body, *heads})
    if not names and options.method != "lora":
        raise ModelError(
            f"{options.method} finds nothing to train in {type(model).__name__}", advice="use lora or full"
        )
    return Chosen(architecture, names, parts, new)


def _trains_as_head(name: str, info: TensorInfo, model: Any, options: TuneOptions) -> bool:
    """Whether a parameter of the head is trained: all of a classifier, the biases of a language model's."""
    if info.kind != "head":
        return False
    is_task_head = "ForSequenceClassification" in type(model).__name__
    if options.method == "bitfit" and not is_task_head:
        return not options.roles and is_bias(name)
    return is_task_head or options.method == "head"


def _check_body(model: Any, infos: Mapping[str, TensorInfo], new: tuple[str, ...]) -> None:
    body = [name for name, info in infos.items() if info.kind != "head"]
    lost = [name for name in body if name in set(new)]
    if len(lost) * 2 > len(body):
        raise ModelError(
            f"{len(lost)} of {len(body)} parameters of {type(model).__name__} are not in the checkpoint "
            f"({lost[0]} for one)",
            advice="check that config.json belongs to these weights",
        )


def _biases(
    architecture: Architecture,
    shapes: Mapping[str, tuple[int, ...]],
    infos: Mapping[str, TensorInfo],
    options: TuneOptions,
) -> tuple[list[str], dict[str, tuple[slice, ...]]]:
    """Biases of the body by role, and the ranges of those fused ones that are trained in part."""
    if not any(info.kind == "bias" for info in infos.values()):
        raise NoBiasesError(
            f"BitFit needs biases, and this architecture ({architecture.family}) has none: "
            f"0 of {len(shapes)} parameters are one",
            advice="use --method lora, which needs none, or full",
        )
    kinds = ("bias", "norm") if options.norms else ("bias",)
    candidates = {name: info for name, info in infos.items() if info.kind in kinds}
    if not options.roles:
        return list(candidates), {}
    names: list[str] = []
    parts: dict[str, tuple[slice, ...]] = {}
    found: set[str] = set()
    for name, info in candidates.items():
        cut = architecture.parts(name, shapes[name]) if info.kind == "bias" else ()
        wanted = [part for part in cut if part.role in options.roles]
        if info.role in options.roles or wanted:
            names.append(name)
            found |= {info.role or ""} | {part.role for part in wanted}
        if wanted and info.role not in options.roles:
            parts[name] = tuple(s for part in wanted for s in flat_ranges(part))
    _check_roles(options.roles, found, candidates, architecture, shapes)
    return names, parts


def flat_ranges(part: Part) -> list[slice]:
    """The ranges of flat indices that a part of a fused tensor takes."""
    inner = math.prod(part.shape[part.axis + 1 :])
    block = part.shape[part.axis] * inner
    outer = range(math.prod(part.shape[: part.axis]))
    return [slice(at * block + part.start * inner, at * block + part.stop * inner) for at in outer]


def _check_roles(
    wanted: tuple[str, ...],
    found: set[str],
    candidates: Mapping[str, TensorInfo],
    architecture: Architecture,
    shapes: Mapping[str, tuple[int, ...]],
) -> None:
    lost = [role for role in wanted if role not in found]
    if not lost:
        return
    known = {info.role for info in candidates.values() if info.role}
    known |= {part.role for name in candidates for part in architecture.parts(name, shapes[name])}
    raise SettingsError(
        f"no bias of the role {lost[0]!r} in this architecture ({architecture.family})",
        advice=f"choose among {', '.join(sorted(known))}",
    )


def only(parameter: torch.Tensor, ranges: tuple[slice, ...]) -> Any:
    """A hook that erases the gradient outside `ranges`; without decay AdamW leaves those elements alone."""
    import torch

    mask = torch.zeros_like(parameter.detach())
    for at in ranges:
        mask[at] = 1

    return lambda gradient: gradient * mask.to(gradient)


def lora_targets(model: Any, chosen: Chosen, roles: tuple[str, ...] = ()) -> tuple[list[str], list[str]]:
    """The modules to adapt (every linear layer of the body) and those to train whole (a new head).

    Returns
    -------
    tuple of list of str
        Names for peft's ``target_modules``, shortened where that means the same, and for ``modules_to_save``.
    """
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    whole = sorted({name.rpartition(".")[0] for name in chosen.names})
    targets: dict[str, TensorInfo] = {}
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear | Conv1D)]
    for name in linear:
        info = chosen.architecture.info(f"{name}.weight", 2)
        if info.kind != "head" and name not in whole:
            targets[name] = info
    if roles:
        known = sorted({info.role for info in targets.values() if info.role})
        targets = {name: info for name, info in targets.items() if info.role in roles}
        lost = set(roles) - {info.role for info in targets.values()}
        if lost:
            raise SettingsError(
                f"no matrix of the role {min(lost)!r} in this architecture ({chosen.architecture.family})",
                advice=f"choose among {', '.join(known)}",
            )
    if not targets:
        raise ModelError("LoRA finds no linear layer to adapt", advice="use --method full")
    return short_names(list(targets), linear), whole


def short_names(targets: list[str], linear: list[str]) -> list[str]:
    """Names of modules without the layer's number, as long as they pick the same ones among `linear`."""
    short = sorted({_behind_number(name) for name in targets})
    picked = {name for name in linear if any(name == s or name.endswith(f".{s}") for s in short)}
    return short if picked == set(targets) else targets


def _behind_number(name: str) -> str:
    parts = name.split(".")
    numbers = [info for info, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[numbers[-1] + 1 :]) if numbers and numbers[-1] + 1 < len(parts) else name
