"""LoRA on a parameter that is no module's weight: all experts of a layer in one tensor.

Names and rules: ``peft/tuners/lora/layer.py`` (``ParamWrapper``). Wrappers of several parameters of a module
stand in each other, the first parameter's innermost.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bitfit_probe.checkpoint.adapters.low_rank import LowRank
from bitfit_probe.checkpoint.storage.computed import Float64, computed, rows_of
from bitfit_probe.checkpoint.storage.tensor import Tensor
from bitfit_probe.frozen import Frozen
from bitfit_probe.records import Part

__all__ = ["ExpertsLowRank", "parameter_of"]

_WRAPPER = ".base_layer"


def parameter_of(module: str, modules: Container[str], config: Mapping[str, Any]) -> str | None:
    """The parameter that the factors under the name `module` alter; None where they are those of a module.

    Parameters
    ----------
    modules
        All such names.
    config
        With ``target_parameters``, whose order in a module is not told: a down projection comes last, as in
        all classes of transformers.
    """
    stem = module
    while stem.endswith(_WRAPPER):
        stem = stem.removesuffix(_WRAPPER)
    targets = config.get("target_parameters")
    leaves = set(_leaves(stem, targets if isinstance(targets, list) else ()))
    own = sorted(leaves, key=lambda leaf: ("down" in leaf, leaf))
    depth = (len(module) - len(stem)) // len(_WRAPPER)
    nested = sum(f"{stem}{_WRAPPER * at}" in modules for at in range(len(own)))
    at = nested - 1 - depth
    return f"{stem}.{own[at]}" if 0 <= at < len(own) else None


def _leaves(stem: str, targets: Iterable[object]) -> Iterable[str]:
    for target in targets:
        module, _, leaf = str(target).rpartition(".")
        if module and (stem == module or stem.endswith(f".{module}")):
            yield leaf


class ExpertsLowRank(Frozen, eq=False):
    """A tensor (experts, rows, columns) of which each expert's matrix gets s·B·A of its own added.

    Attributes
    ----------
    name
        Name of the altered tensor in the tuned model.
    a, b
        The factors as stored: A is (experts · r, inputs), expert after expert; B is (outputs, r · experts),
        of which the experts' columns alternate.
    rank
        r of each expert.
    scale
        s.
    inputs_first
        Whether square matrices are stored with their inputs first; others tell by their shape.
    """

    name: str
    a: Tensor
    b: Tensor
    rank: int
    scale: float
    inputs_first: bool = False

    @property
    def experts(self) -> int:
        """How many there are."""
        return self.a.shape[0] // self.rank

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor, outputs before inputs."""
        return (self.experts, self.b.shape[0], self.a.shape[1])

    @property
    def vectors(self) -> Mapping[str, Tensor]:
        """What it stores beside the factors: nothing."""
        return {}

    def of(self, name: str, expert: int, start: int, stop: int) -> LowRank:
        """The change of one expert's rows ``[start, stop)``, which are stored alone under `name`."""
        a = self.a.part(Part("", self.a.shape, 0, expert * self.rank, (expert + 1) * self.rank))
        grid = (self.b.shape[0], self.rank, self.experts)
        rows = self.b.part(Part("", grid, 2, expert, expert + 1))
        b = replace(rows, shape=(stop - start, self.rank), strides=rows.strides[:2])
        return LowRank(name, a, replace(b, offset=b.offset + start * b.strides[0]), self.scale)

    def tuned(self, base: Tensor, *, in_out: bool) -> Tensor:
        """What `base` becomes; see `Change`."""
        experts, outputs, inputs = self.shape
        plain = base.shape == self.shape
        if not plain and base.shape != (experts, inputs, outputs):
            raise ValueError(f"{self.name}: factors for {self.shape}, the base has {base.shape}")
        turned = self.inputs_first if inputs == outputs else not plain

        def rows(start: int, stop: int) -> Float64:
            delta = np.stack([self._delta(expert, turned) for expert in range(start, stop)])
            return rows_of(base, start, stop) + delta.reshape(stop - start, -1)

        return computed(self.name, base.shape, rows)

    def _delta(self, expert: int, turned: bool) -> Float64:
        one = self.of(self.name, expert, 0, self.b.shape[0])
        delta: Float64 = self.scale * (one.b.values() @ one.a.values())
        return delta.T if turned else delta
