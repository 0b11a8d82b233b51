"""A live model's weights: where a checkpoint's tensors stand in it, and other values for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bitfit_probe.align import align, unwrapped
from bitfit_probe.checkpoint import Checkpoint, Tensor
from bitfit_probe.checkpoint.storage.dtypes import BY_NAME
from bitfit_probe.checkpoint.storage.tensor import MemoryStorage

if TYPE_CHECKING:
    import torch

__all__ = ["Window", "as_checkpoint", "in_type", "overlaid", "plainly_named", "window_on", "windows"]


@dataclass(frozen=True)
class Window:
    """Where a tensor of a checkpoint (or a part of a fused one) stands in a live model.

    Attributes
    ----------
    parameter
        The name of the model's parameter.
    view
        Window on the parameter's elements, with the tensor's shape.
    values
        The checkpoint's values in the model's element type.
    offset
        Where the window begins in the parameter, in elements.
    """

    parameter: str
    view: torch.Tensor
    values: torch.Tensor
    offset: int = 0

    def within(self, whole: torch.Tensor) -> torch.Tensor:
        """The same elements of a tensor of the parameter's shape, which must be contiguous."""
        return whole.as_strided(self.view.shape, self.view.stride(), whole.storage_offset() + self.offset)

    @property
    def differs(self) -> bool:
        """Whether the checkpoint has other values than the model."""
        return not bool((self.view == self.values).all())


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


def windows(
    checkpoint: Checkpoint, model: Any, kinds: Collection[str]
) -> dict[tuple[str, str | None], Window]:
    """Where the tensors of `checkpoint` stand in `model`, by their name and part.

    Going by names and layouts, to the model itself, serves every spelling in which either may be stored.

    Parameters
    ----------
    kinds
        Of tensors (``bias``, ``weight``, …); a head is a kind of its own.
    """
    import torch

    parameters = dict(model.named_parameters())
    found = {}
    for pair in align(checkpoint, as_checkpoint(model, checkpoint)).pairs:
        if pair.info.kind not in kinds:
            continue
        parameter = parameters[pair.tuned.name].detach()
        start = parameter.storage_offset() + pair.tuned.offset
        view = parameter.as_strided(pair.tuned.shape, pair.tuned.strides, start)
        values = torch.from_numpy(pair.base.values()).to(parameter.dtype)
        found[pair.base.name, pair.part] = Window(pair.tuned.name, view, values, pair.tuned.offset)
    return found


def window_on(model: Any, parameter: str, tensor: Tensor) -> Window:
    """A checkpoint's tensor for a whole parameter of the model, of whatever names."""
    import torch

    view = model.get_parameter(parameter).detach()
    return Window(parameter, view, torch.from_numpy(tensor.values()).to(view.dtype))


@contextlib.contextmanager
def in_type(model: Any, dtype: str) -> Iterator[None]:
    """The model in another element type inside the ``with`` block; afterwards as it was, bit for bit."""
    import torch

    kept = {name: value.clone() for name, value in model.state_dict().items()}
    before = model.dtype
    try:
        yield model.to(getattr(torch, dtype))
    finally:
        model.to(before).load_state_dict(kept)


@contextlib.contextmanager
def overlaid(others: Sequence[Window]) -> Iterator[None]:
    """The checkpoint's values inside the ``with`` block; afterwards the model's own again, bit for bit."""
    kept = [window.view.clone() for window in others]
    try:
        for window in others:
            window.view.copy_(window.values)
        yield
    finally:
        for window, values in zip(others, kept, strict=True):
            window.view.copy_(values)
