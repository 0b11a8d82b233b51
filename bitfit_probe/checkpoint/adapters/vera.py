"""VeRA: W + diag(λb)·B·diag(λd)·A with A and B that all modules share (Kopiczko et al. 2024).

Names and rule: ``peft/tuners/vera/layer.py``. Each module takes the first rows of B and columns of A that it
needs; both stand in the file unless ``save_projection`` is off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bitfit_probe.checkpoint.adapters.interface import Changes, not_read
from bitfit_probe.checkpoint.adapters.low_rank import LowRank
from bitfit_probe.checkpoint.adapters.parts import Parts, all_there, changes_of, is_part
from bitfit_probe.checkpoint.storage.computed import Float64, computed
from bitfit_probe.checkpoint.storage.tensor import Tensor
from bitfit_probe.frozen import Frozen

__all__ = ["PEFT_TYPE", "changes", "label", "matches"]

PEFT_TYPE = "VERA"
_SCALES = ("vera_lambda_b", "vera_lambda_d")
_SHARED = ("base_model.vera_A", "base_model.vera_B")


class Scaled(Frozen, eq=False):
    """A matrix that gets the shared product, by the module's own scales of outputs and ranks."""

    name: str
    outputs: Tensor
    ranks: Tensor
    a: Tensor
    b: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """What of the shape is known: the number of outputs."""
        return (self.outputs.size,)

    @property
    def vectors(self) -> Mapping[str, Tensor]:
        """The scales."""
        module = self.name.removesuffix("weight")
        both = zip(_SCALES, (self.outputs, self.ranks), strict=True)
        return {module + part: replace(tensor, name=module + part) for part, tensor in both}

    def tuned(self, base: Tensor, *, in_out: bool) -> Tensor:
        """What `base` becomes; see `Change`."""
        sizes = base.shape[::-1] if in_out or base.shape[:1] != self.shape else base.shape
        if len(sizes) != 2 or sizes[:1] != self.shape or sizes[1] > self.a.shape[1]:
            raise ValueError(f"{self.name}: scales of {self.shape} outputs, the base has {base.shape}")
        a = replace(self.a, shape=(self.a.shape[0], sizes[1]))
        change = LowRank(self.name, _scaled(a, self.ranks), _scaled(self.b, self.outputs), 1.0)
        return change.tuned(base, in_out=in_out)


def _scaled(factor: Tensor, scales: Tensor) -> Tensor:
    """The first rows of `factor`, each times its scale."""
    columns = factor.shape[1]

    def rows(start: int, stop: int) -> Float64:
        values = factor.block(start * columns, stop * columns).reshape(-1, columns)
        return values * scales.block(start, stop)[:, np.newaxis]

    return computed(factor.name, (scales.size, columns), rows)


def matches(name: str) -> bool:
    """Whether the name is that of scales or of a shared factor."""
    return name in _SHARED or is_part(name, _SCALES)


def label(config: Mapping[str, Any]) -> str:
    """VeRA."""
    return "VeRA"


def changes(tensors: Mapping[str, Tensor], config: Mapping[str, Any], path: Path) -> Changes:
    """The matrices that the scales change."""
    shared = [tensors[name] for name in _SHARED if name in tensors]
    if len(shared) < len(_SHARED) or any(len(tensor.shape) != 2 for tensor in shared):
        raise not_read("a VeRA saved without its projections", path)

    def make(module: str, parts: Parts) -> Scaled | None:
        if not all_there(parts, _SCALES):
            return None
        outputs, ranks = (parts[name] for name in _SCALES)
        if ranks.size != shared[0].shape[0] or outputs.size > shared[1].shape[0]:
            return None
        return Scaled(f"{module}.weight", outputs, ranks, *shared)

    own = {name: tensor for name, tensor in tensors.items() if name not in _SHARED}
    return changes_of(own, _SCALES, make)
