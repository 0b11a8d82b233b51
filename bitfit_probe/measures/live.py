"""The biases of a live model, laid beside a base checkpoint, and put back to its values for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bitfit_probe.align import align, unwrapped
from bitfit_probe.checkpoint import Checkpoint, Tensor
from bitfit_probe.checkpoint.storage.dtypes import BY_NAME
from bitfit_probe.checkpoint.storage.tensor import MemoryStorage

if TYPE_CHECKING:
    import torch

__all__ = ["LiveBias", "as_checkpoint", "live_biases", "plainly_named", "put_back"]


@dataclass(frozen=True)
class LiveBias:
    """A bias of the model, or the part of a fused one.

    Attributes
    ----------
    parameter
        The name of the model's parameter.
    view
        Window on the parameter's elements, with the base's shape.
    base
        The base's values in the model's element type.
    offset
        Where the window begins in the parameter, in elements.
    """

    parameter: str
    view: torch.Tensor
    base: torch.Tensor
    offset: int = 0

    def window(self, whole: torch.Tensor) -> torch.Tensor:
        """The same elements of a tensor of the parameter's shape, which must be contiguous."""
        return whole.as_strided(self.view.shape, self.view.stride(), whole.storage_offset() + self.offset)

    @property
    def moved(self) -> bool:
        """Whether the base has other values."""
        return not bool((self.view == self.base).all())


def plainly_named(checkpoint: Checkpoint) -> Checkpoint:
    """`checkpoint` under the names that transformers expects, without DDP's, FSDP's or torch.compile's."""
    plain = {unwrapped(name): tensor for name, tensor in checkpoint.tensors.items()}
    return replace(checkpoint, tensors=plain) if len(plain) == len(checkpoint.tensors) else checkpoint


def as_checkpoint(model: Any, like: Checkpoint) -> Checkpoint:
    """A model's parameters, which must be float32, as an open checkpoint that shares their memory."""
    tensors = {}
    for name, parameter in model.named_parameters():
        values = parameter.detach().contiguous().numpy().reshape(-1)
        storage = MemoryStorage(values.view(np.uint8))
        tensors[name] = Tensor.contiguous(name, BY_NAME["float32"], tuple(parameter.shape), storage)
    return Checkpoint(like.path, "model", tensors, ())


def live_biases(base: Checkpoint, model: Any, tuned: Checkpoint) -> dict[tuple[str, str | None], LiveBias]:
    """The model's biases outside the head by the base's name and part.

    Going by names and layouts once more, from the base to the model itself, serves every spelling in which
    the tuned checkpoint may be stored.
    """
    import torch

    parameters = dict(model.named_parameters())
    found = {}
    for pair in align(base, as_checkpoint(model, tuned)).pairs:
        if pair.info.kind != "bias":
            continue
        parameter = parameters[pair.tuned.name].detach()
        start = parameter.storage_offset() + pair.tuned.offset
        view = parameter.as_strided(pair.tuned.shape, pair.tuned.strides, start)
        values = torch.from_numpy(pair.base.values()).to(parameter.dtype)
        found[pair.base.name, pair.part] = LiveBias(pair.tuned.name, view, values, pair.tuned.offset)
    return found


@contextlib.contextmanager
def put_back(biases: Sequence[LiveBias]) -> Iterator[None]:
    """The base's values inside the ``with`` block; afterwards the tuned ones again, bit for bit."""
    kept = [bias.view.clone() for bias in biases]
    try:
        for bias in biases:
            bias.view.copy_(bias.base)
        yield
    finally:
        for bias, values in zip(biases, kept, strict=True):
            bias.view.copy_(values)
