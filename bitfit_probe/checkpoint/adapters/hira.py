"""HiRA: W + W∘(B·A) (Huang et al. 2025). Names and rule: ``peft/tuners/hira/layer.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bitfit_probe.checkpoint.adapters.interface import Changes
from bitfit_probe.checkpoint.adapters.low_rank import LowRank
from bitfit_probe.checkpoint.adapters.parts import Parts, all_there, changes_of, is_part
from bitfit_probe.checkpoint.storage.computed import Float64, computed, rows_of
from bitfit_probe.checkpoint.storage.tensor import Tensor
from bitfit_probe.frozen import Frozen

__all__ = ["PEFT_TYPE", "changes", "label", "matches"]

PEFT_TYPE = "HIRA"
_PARTS = ("hira_A", "hira_B", "hira_embedding_A", "hira_embedding_B")


class Modulation(Frozen, eq=False):
    """A matrix of which each element gets its share of B·A added."""

    factors: LowRank

    @property
    def name(self) -> str:
        """Name of the altered tensor."""
        return self.factors.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the matrix, outputs first."""
        return self.factors.shape

    @property
    def vectors(self) -> Mapping[str, Tensor]:
        """B·A as it is, which takes no base."""
        return {self.name: replace(self.factors.update, name=self.name)}

    def tuned(self, base: Tensor, *, in_out: bool) -> Tensor:
        """What `base` becomes; see `Change`."""
        swapped = self.factors.swapped(base.shape, in_out)

        def rows(start: int, stop: int) -> Float64:
            with np.errstate(all="ignore"):
                return rows_of(base, start, stop) * (1 + self.factors.rows(start, stop, swapped=swapped))

        return computed(self.name, base.shape, rows)


def matches(name: str) -> bool:
    """Whether the name is that of a factor."""
    return is_part(name, _PARTS)


def label(config: Mapping[str, Any]) -> str:
    """HiRA."""
    return "HiRA"


def changes(tensors: Mapping[str, Tensor], config: Mapping[str, Any], path: Path) -> Changes:
    """The matrices that the factors change."""

    def make(module: str, parts: Parts) -> Modulation | None:
        embedding = "hira_embedding_A" in parts
        names = _PARTS[2:] if embedding else _PARTS[:2]
        if not all_there(parts, names) or any(len(part.shape) != 2 for part in parts.values()):
            return None
        a, b = (parts[name] for name in names)
        return Modulation(LowRank(f"{module}.weight", a, b, 1.0, embedding=embedding))

    return changes_of(tensors, _PARTS, make)
