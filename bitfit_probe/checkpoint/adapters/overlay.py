"""An adapter laid over a base: the tuned tensors, computed when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bitfit_probe.checkpoint.interface import Change
from bitfit_probe.checkpoint.storage.tensor import Tensor

__all__ = ["Overlay", "lay_over"]


@dataclass
class Overlay:
    """What an adapter makes of a base.

    Attributes
    ----------
    tensors
        The tuned tensors by the caller's names: computed ones, and those that the file holds whole.
    absent, misfits
        Changes of which the base has no tensor, or one of another shape.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    absent: dict[str, Change] = field(default_factory=dict)
    misfits: dict[str, Change] = field(default_factory=dict)


def lay_over(
    base: Mapping[str, Tensor],
    altered: Mapping[str, Change],
    stored: Mapping[str, Tensor],
    *,
    inputs_first: bool,
) -> Overlay:
    """The tuned tensors, all three mappings being keyed by the same kind of names.

    A tensor that is both stored and altered is altered from what is stored, as peft merges it.
    `inputs_first` settles the layout of square matrices where no neighbour in the base tells it.
    """
    out = Overlay(tensors=dict(stored))
    for key, change in altered.items():
        own = _in_base(base, key)
        if own is None:
            if not getattr(change, "optional", False):
                out.absent[key] = change
            continue
        try:
            before = stored.get(key, base[own])
            in_out = _inputs_first(base, own, default=inputs_first)
            out.tensors[own] = change.tuned(before, in_out=in_out)
        except ValueError:
            out.misfits[key] = change
    return out


def _in_base(base: Mapping[str, Tensor], key: str) -> str | None:
    """`key`, or what ``torch.nn.MultiheadAttention`` calls it."""
    stem = key.removesuffix("weight")
    return next((name for name in (key, f"{stem}in_proj_weight") if name in base), None)


def _inputs_first(base: Mapping[str, Tensor], key: str, *, default: bool) -> bool:
    """Whether the layer of `key` stores matrices as (in, out): its oblong ones with biases tell."""
    parts = key.split(".")
    numbers = [at for at, part in enumerate(parts) if part.isdigit()]
    if not numbers or len(set(base[key].shape)) != 1:
        return default
    layer = ".".join(parts[: numbers[-1] + 1]) + "."
    votes = 0
    for name, weight in base.items():
        bias = base.get(name.removesuffix("weight") + "bias")
        if not name.startswith(layer) or not name.endswith(".weight") or bias is None:
            continue
        if len(weight.shape) == 2 and weight.shape[0] != weight.shape[1] and len(bias.shape) == 1:
            votes += (weight.shape[1] == bias.shape[0]) - (weight.shape[0] == bias.shape[0])
    return votes > 0 if votes else default
