"""IA³: outputs or inputs of a matrix scaled by a vector (Liu et al. 2022).

Names and rules: ``peft/tuners/ia3/layer.py``. A vector of outputs, shape (out, 1), scales the bias as well;
one of inputs, shape (1, in), belongs to a feed-forward layer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bitfit_probe.checkpoint.adapters.interface import Changes, not_read
from bitfit_probe.checkpoint.adapters.patterns import named_by_end
from bitfit_probe.checkpoint.interface import Change
from bitfit_probe.checkpoint.parsing.expressions import Expression, UnreadExpressionError
from bitfit_probe.checkpoint.storage.computed import Float64, computed, rows_of
from bitfit_probe.checkpoint.storage.tensor import Tensor
from bitfit_probe.frozen import Frozen

__all__ = ["PEFT_TYPE", "changes", "label", "matches"]

PEFT_TYPE = "IA3"
_VECTOR = re.compile(r"(?P<module>.+)\.ia3_l(?:\.[^.]+)?")


class Scaling(Frozen, eq=False):
    """A tensor of which the outputs, or the inputs of a feed-forward layer, are multiplied.

    Attributes
    ----------
    name
        Name of the altered tensor in the tuned model.
    vector
        The factors.
    inputs
        Whether they belong to the inputs.
    optional
        Whether the base need not have the tensor: a layer without a bias has none to scale.
    """

    name: str
    vector: Tensor
    inputs: bool
    optional: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """What of the shape is known: the length of the vector."""
        return (self.vector.size,)

    @property
    def vectors(self) -> Mapping[str, Tensor]:
        """The factors; those of a bias are its matrix's."""
        return {} if self.optional else {self.name: replace(self.vector, name=self.name)}

    def tuned(self, base: Tensor, *, in_out: bool) -> Tensor:
        """What `base` becomes; see `Change`."""
        by_row = self._by_row(base.shape, in_out)
        inner = math.prod(base.shape[2:])

        def rows(start: int, stop: int) -> Float64:
            weight = rows_of(base, start, stop)
            with np.errstate(all="ignore"):
                if by_row:
                    return weight * self.vector.block(start, stop)[:, np.newaxis]
                return weight * np.repeat(self.vector.values().reshape(-1), inner)

        return computed(self.name, base.shape, rows)

    def _by_row(self, shape: tuple[int, ...], in_out: bool) -> bool:
        """Whether the vector runs along the first axis, which holds the outputs unless `in_out`."""
        size = self.vector.size
        fits = [axis for axis in (0, 1) if len(shape) > axis and shape[axis] == size]
        if not fits:
            raise ValueError(f"{self.name}: a vector of {size}, the base has {shape}")
        if len(fits) == 1:
            return fits == [0]
        return self.inputs == (in_out and len(shape) == 2)


def matches(name: str) -> bool:
    """Whether the name is that of a vector."""
    return _VECTOR.fullmatch(name) is not None


def label(config: Mapping[str, Any]) -> str:
    """IA3."""
    return "IA3"


def changes(tensors: Mapping[str, Tensor], config: Mapping[str, Any], path: Path) -> Changes:
    """The matrices and biases that the vectors scale."""
    altered: dict[str, Change] = {}
    feedforward = _feedforward(config, path)
    for name, tensor in tensors.items():
        match = _VECTOR.fullmatch(name)
        assert match is not None
        module = match["module"]
        inputs = _of_inputs(module, tensor, feedforward, path)
        altered[f"{module}.weight"] = Scaling(f"{module}.weight", tensor, inputs)
        if not inputs:
            altered[f"{module}.bias"] = Scaling(f"{module}.bias", tensor, inputs, optional=True)
    return Changes(altered)


def _of_inputs(module: str, vector: Tensor, feedforward: Callable[[str], bool], path: Path) -> bool:
    if len(vector.shape) == 2 and vector.shape[0] != vector.shape[1]:
        return vector.shape[0] == 1
    try:
        return feedforward(module)
    except UnreadExpressionError as error:
        raise not_read(f"its feedforward_modules is not read: {error}", path) from error


def _feedforward(config: Mapping[str, Any], path: Path) -> Callable[[str], bool]:
    """Whether a module is one of ``feedforward_modules``: an expression, or ends of names."""
    named = config.get("feedforward_modules")
    if isinstance(named, str):
        try:
            return Expression(named).is_all_of
        except UnreadExpressionError as error:
            raise not_read(f"its feedforward_modules is not read: {error}", path) from error
    ends = {end: True for end in named if isinstance(end, str)} if isinstance(named, list) else {}
    return lambda module: named_by_end(ends, module) is not None
