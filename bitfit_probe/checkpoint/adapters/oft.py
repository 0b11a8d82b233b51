"""OFT: W·R with R orthogonal, block by block of the inputs (Qiu et al. 2023).

Names and rule: ``peft/tuners/oft/layer.py``. What is stored is the upper half of a skew matrix Q a block; R
is its Cayley transform (I + Q)⁻¹·(I − Q), or what I + 2Q + 2Q² + … begins with.
"""

from __future__ import annotations

import math
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

PEFT_TYPE = "OFT"
_PARTS = ("oft_R",)
_NEUMANN_TERMS = 5


def matches(name: str) -> bool:
    """Whether the name is that of a module's angles."""
    return is_part(name, _PARTS)


def label(config: Mapping[str, Any]) -> str:
    """OFT."""
    return "OFT"


def changes(tensors: Mapping[str, Tensor], config: Mapping[str, Any], path: Path) -> Changes:
    """The matrices whose inputs are rotated."""
    if config.get("coft"):
        raise not_read("an OFT with coft, which is cut to a bound when it is merged", path)
    terms = config.get("num_cayley_neumann_terms", _NEUMANN_TERMS)
    neumann = terms if config.get("use_cayley_neumann", True) else 0
    if not isinstance(neumann, int) or not 0 <= neumann <= 100:
        raise not_read("an OFT whose num_cayley_neumann_terms is no small number", path)

    def make(module: str, parts: Parts) -> Rotation | None:
        if not all_there(parts, _PARTS) or len(parts["oft_R"].shape) != 2:
            return None
        angles = parts["oft_R"]
        block = (1 + math.isqrt(1 + 8 * angles.shape[1])) // 2
        if block * (block - 1) // 2 != angles.shape[1]:
            return None

        def rotate(weight: Float64) -> Float64:
            turns = rotations(angles.values(), block, neumann)
            if weight.shape[1] % block or len(turns) not in (1, weight.shape[1] // block):
                raise not_read(f"an OFT of other blocks than {module!r} has", path)
            apart = weight.reshape(len(weight), -1, block)
            turned = apart.transpose(1, 0, 2) @ turns.transpose(0, 2, 1)
            return turned.transpose(1, 0, 2).reshape(weight.shape)

        return Rotation(f"{module}.weight", angles, rotate, path)

    return changes_of(tensors, _PARTS, make)


def rotations(angles: Float64, block: int, neumann: int) -> Float64:
    """R of each block, shape (blocks, b, b), by its Cayley transform or `neumann` terms of the series."""
    skew = np.zeros((len(angles), block, block))
    rows, columns = np.triu_indices(block, 1)
    skew[:, rows, columns] = angles
    skew -= skew.transpose(0, 2, 1)
    one = np.eye(block)
    if not neumann:
        return np.asarray(np.linalg.solve(one + skew, one - skew))
    total, power = np.broadcast_to(one, skew.shape).copy(), one
    highest = neumann - 1 if neumann < 3 else max(neumann - 1, 3)
    for at in range(1, highest + 1):
        power = power @ skew
        total += power if at == highest and neumann > 2 else 2 * power
    return total
