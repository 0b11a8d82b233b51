"""AdaLoRA: W + s·B·diag(E)·A (Zhang et al. 2023). Names and rule: ``peft/tuners/adalora/layer.py``.

The scale is alpha / (r + 1e-5) with the rank that training started from, whatever the budget left of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bitfit_probe.checkpoint.adapters.interface import Changes, not_read
from bitfit_probe.checkpoint.adapters.low_rank import LowRank
from bitfit_probe.checkpoint.adapters.parts import Parts, all_there, changes_of, is_part
from bitfit_probe.checkpoint.storage.computed import Float64, computed, rows_of
from bitfit_probe.checkpoint.storage.tensor import Tensor

__all__ = ["PEFT_TYPE", "changes", "label", "matches"]

PEFT_TYPE = "ADALORA"
_PARTS = ("lora_A", "lora_B", "lora_E")
_EPSILON = 1e-5


def matches(name: str) -> bool:
    """Whether the name is that of a factor."""
    return is_part(name, _PARTS)


def label(config: Mapping[str, Any]) -> str:
    """AdaLoRA."""
    return "AdaLoRA"


def changes(tensors: Mapping[str, Tensor], config: Mapping[str, Any], path: Path) -> Changes:
    """The matrices that the factors change."""
    rank, alpha = config.get("init_r", 12), config.get("lora_alpha", 8)
    if not isinstance(rank, int) or not isinstance(alpha, (int, float)) or rank < 1:
        raise not_read("an AdaLoRA without its init_r and lora_alpha", path)
    scale = (alpha if alpha > 0 else rank) / (rank + _EPSILON)

    def make(module: str, parts: Parts) -> LowRank | None:
        if not all_there(parts, _PARTS) or parts["lora_E"].size != parts["lora_A"].shape[0]:
            return None
        a, e = parts["lora_A"], parts["lora_E"]

        def rows(start: int, stop: int) -> Float64:
            return rows_of(a, start, stop) * e.block(start, stop)[:, np.newaxis]

        return LowRank(f"{module}.weight", computed(a.name, a.shape, rows), parts["lora_B"], scale)

    return changes_of(tensors, _PARTS, make)
