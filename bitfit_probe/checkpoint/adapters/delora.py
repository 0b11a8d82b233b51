"""DeLoRA: W + B·diag(λ / (r·‖aᵢ‖·‖bᵢ‖))·A·diag(w), w the lengths of the base's columns (Bini et al. 2025).

Names and rule: ``peft/tuners/delora/layer.py``; w stands in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bitfit_probe.checkpoint.adapters.interface import Changes
from bitfit_probe.checkpoint.adapters.low_rank import LowRank
from bitfit_probe.checkpoint.adapters.parts import Parts, all_there, changes_of, is_part
from bitfit_probe.checkpoint.storage.computed import Float64, computed
from bitfit_probe.checkpoint.storage.tensor import Tensor

__all__ = ["PEFT_TYPE", "changes", "label", "matches"]

PEFT_TYPE = "DELORA"
_PARTS = ("delora_A", "delora_B", "delora_lambda", "delora_w_norm")
#: The least length that a row or column is divided by.
_LEAST = 1e-4


def matches(name: str) -> bool:
    """Whether the name is that of a factor, a bound or the lengths."""
    return is_part(name, _PARTS)


def label(config: Mapping[str, Any]) -> str:
    """DeLoRA."""
    return "DeLoRA"


def changes(tensors: Mapping[str, Tensor], config: Mapping[str, Any], path: Path) -> Changes:
    """The matrices that the factors change."""

    def make(module: str, parts: Parts) -> LowRank | None:
        if not all_there(parts, _PARTS):
            return None
        a, b, bound, lengths = (parts[name] for name in _PARTS)
        if len(a.shape) != 2 or b.shape[1:] != a.shape[:1] or lengths.size != a.shape[1] or bound.size != 1:
            return None

        def rows(start: int, stop: int) -> Float64:
            values, others = a.values(), b.values()
            norms = [
                np.maximum(np.linalg.norm(*each), _LEAST) for each in ((values, None, 1), (others, None, 0))
            ]
            scaled: Float64 = (
                values * (bound.values().item() / len(values) / (norms[0] * norms[1]))[:, np.newaxis]
            )
            return (scaled * lengths.values())[start:stop]

        return LowRank(f"{module}.weight", computed(a.name, a.shape, rows), b, 1.0)

    return changes_of(tensors, _PARTS, make)
