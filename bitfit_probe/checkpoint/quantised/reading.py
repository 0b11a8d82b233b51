"""From codes and scales to the weights that they stand for, wherever a scheme is known."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import cast

from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.checkpoint.quantised.interface import Packed, Scheme
from bitfit_probe.checkpoint.quantised.settings import Settings, settings_of
from bitfit_probe.checkpoint.registry import modules_of
from bitfit_probe.checkpoint.storage.tensor import Tensor, expect

__all__ = ["unpacked"]

#: Bytes of what tells how a weight is packed: read when a checkpoint is opened, from afar in one go.
_SMALL = 1 << 12


def unpacked(checkpoint: Checkpoint) -> Checkpoint:
    """`checkpoint` with one tensor for each packed weight, in the place of its first part.

    What can't be unpacked stays as it is.
    """
    marked = _marked(checkpoint)
    if not marked:
        return checkpoint
    settings = settings_of(checkpoint.config)
    expect(tensor for tensor in checkpoint.tensors.values() if tensor.nbytes <= _SMALL)
    found: dict[str, Packed] = {}
    for scheme, stem, mark in marked:
        packed = _read(scheme, stem, mark, checkpoint, settings)
        if packed is not None:
            found |= dict.fromkeys(packed.names, packed)
    if not found:
        return checkpoint
    tensors: dict[str, Tensor] = {}
    for name, tensor in checkpoint.tensors.items():
        stood_for = found[name].tensor if name in found else tensor
        tensors.setdefault(stood_for.name, stood_for)
    kinds = Counter(packed.tensor.dtype.name for packed in {id(one): one for one in found.values()}.values())
    named = f"{checkpoint.format} ({', '.join(kinds)})"
    return replace(checkpoint, format=named, tensors=tensors, packed=checkpoint.tensors)


def _marked(checkpoint: Checkpoint) -> list[tuple[Scheme, str, str]]:
    """Tensors that a scheme is to look at: the scheme, and the name in its two parts."""
    schemes = [cast("Scheme", module) for module in modules_of("quantised", "MARKS")]
    ends = tuple(mark for scheme in schemes for mark in scheme.MARKS)
    return [
        (scheme, name.removesuffix(mark), mark)
        for name in checkpoint.tensors
        if name.endswith(ends)
        for scheme in schemes
        for mark in scheme.MARKS
        if name.endswith(mark)
    ]


def _read(scheme: Scheme, stem: str, mark: str, checkpoint: Checkpoint, settings: Settings) -> Packed | None:
    try:
        packed = scheme.read(stem, mark, checkpoint.tensors, settings)
    except (ValueError, OverflowError):
        return None
    if packed is None or set(packed.names) - checkpoint.tensors.keys():
        return None
    stays = packed.tensor.name in checkpoint.tensors and packed.tensor.name not in packed.names
    return None if stays else packed
