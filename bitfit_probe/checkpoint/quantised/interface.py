"""What the module of a quantisation scheme offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from bitfit_probe.checkpoint.quantised.settings import Settings
from bitfit_probe.checkpoint.storage.tensor import Tensor
from bitfit_probe.frozen import Frozen

__all__ = ["Packed", "Scheme", "Tensors", "part"]

Tensors = Mapping[str, Tensor]


class Packed(Frozen):
    """A weight as one tensor of float32 values, and the names of all that the file stores in its place."""

    tensor: Tensor
    names: tuple[str, ...]


class Scheme(Protocol):
    """What a module of `bitfit_probe.checkpoint.quantised` offers."""

    #: Ends of names of which every packed weight has one.
    MARKS: tuple[str, ...]

    def read(self, stem: str, mark: str, tensors: Tensors, settings: Settings) -> Packed | None:
        """The weight of which `stem` + `mark` is a part; None where it is of another scheme.

        Raises
        ------
        ValueError
            Its parts don't fit, or are packed in a way that is not read.
        """


def part(tensors: Tensors, name: str, *dtypes: str) -> Tensor:
    """The tensor `name`, of one of the element types `dtypes` where these are given.

    Raises
    ------
    ValueError
        There is none.
    """
    tensor = tensors.get(name)
    if tensor is None or (dtypes and tensor.dtype.name not in dtypes):
        raise ValueError(f"no {name!r} of a known element type")
    return tensor
