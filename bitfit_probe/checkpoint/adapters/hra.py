"""HRA: W·H with H a product of Householder reflections (Yuan et al. 2024).

Names and rule: ``peft/tuners/hra/layer.py``. With ``apply_GS`` the reflections are made orthogonal first.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bitfit_probe.checkpoint.adapters.interface import Changes, not_read
from bitfit_probe.checkpoint.adapters.parts import Parts, all_there, changes_of, is_part
from bitfit_probe.checkpoint.adapters.rotation import Rotation
from bitfit_probe.checkpoint.storage.computed import Float64
from bitfit_probe.checkpoint.storage.tensor import Tensor

__all__ = ["PEFT_TYPE", "changes", "label", "matches"]

PEFT_TYPE = "HRA"
_PARTS = ("hra_u",)


def matches(name: str) -> bool:
    """Whether the name is that of a module's reflections."""
    return is_part(name, _PARTS)


def label(config: Mapping[str, Any]) -> str:
    """HRA."""
    return "HRA"


def changes(tensors: Mapping[str, Tensor], config: Mapping[str, Any], path: Path) -> Changes:
    """The matrices whose inputs are reflected."""
    orthogonal = bool(config.get("apply_GS"))

    def make(module: str, parts: Parts) -> Rotation | None:
        if not all_there(parts, _PARTS) or len(parts["hra_u"].shape) != 2:
            return None
        stored = parts["hra_u"]

        def reflect(weight: Float64) -> Float64:
            if weight.shape[1] != stored.shape[0]:
                raise not_read(f"an HRA of another size than {module!r} has", path)
            directions = stored.values()
            if orthogonal:
                directions, _ = np.linalg.qr(directions)
            out = weight.copy()
            for direction in (directions / np.linalg.norm(directions, axis=0)).T:
                out -= 2 * np.outer(out @ direction, direction)
            return out

        return Rotation(f"{module}.weight", stored, reflect, path)

    return changes_of(tensors, _PARTS, make)
