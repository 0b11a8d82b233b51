"""LoKr: W + s·W₁⊗W₂ (Yeh et al. 2024, LyCORIS). Names and rule: ``peft/tuners/lokr/layer.py``.

W₁ ⊗ (B·A) = (W₁ ⊗ B)·(I ⊗ A) makes two factors of it; where W₂ is stored whole, A is the identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bitfit_probe.checkpoint.adapters.interface import Changes, not_read
from bitfit_probe.checkpoint.adapters.low_rank import LowRank
from bitfit_probe.checkpoint.adapters.parts import Parts, all_there, changes_of, is_part, looked_up
from bitfit_probe.checkpoint.adapters.patterns import NamePatterns
from bitfit_probe.checkpoint.storage.computed import Float64, computed
from bitfit_probe.checkpoint.storage.tensor import Tensor

__all__ = ["PEFT_TYPE", "changes", "label", "matches"]

PEFT_TYPE = "LOKR"
_PARTS = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")


def matches(name: str) -> bool:
    """Whether the name is that of a factor."""
    return is_part(name, _PARTS)


def label(config: Mapping[str, Any]) -> str:
    """LoKr."""
    return "LoKr"


def changes(tensors: Mapping[str, Tensor], config: Mapping[str, Any], path: Path) -> Changes:
    """The matrices that the factors change."""
    alphas, ranks = (NamePatterns(config.get(key)) for key in ("alpha_pattern", "rank_pattern"))

    def make(module: str, parts: Parts) -> LowRank | None:
        if "lokr_t2" in parts or any(len(part.shape) != 2 for part in parts.values()):
            raise not_read("a LoKr with use_effective_conv2d", path)
        one, two = (
            ("lokr_w1",) if "lokr_w1" in parts else ("lokr_w1_a", "lokr_w1_b"),
            ("lokr_w2",) if "lokr_w2" in parts else ("lokr_w2_a", "lokr_w2_b"),
        )
        if not all_there(parts, (*one, *two)):
            return None
        rank = looked_up(ranks, "rank_pattern", module, config.get("r", 8), path)
        alpha = looked_up(alphas, "alpha_pattern", module, config.get("alpha", 8), path)
        if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, (int, float)):
            raise not_read("a LoKr without its r and alpha", path)
        a, b = _factors([parts[name] for name in one], [parts[name] for name in two])
        return LowRank(f"{module}.weight", a, b, alpha / rank)

    return changes_of(tensors, _PARTS, make)


def _factors(first: list[Tensor], second: list[Tensor]) -> tuple[Tensor, Tensor]:
    """I ⊗ A, and W₁ ⊗ B."""
    rows_1, columns_1 = first[0].shape[0], first[-1].shape[1]
    rows_2, rank = second[0].shape
    columns_2 = second[-1].shape[1]

    def left(start: int, stop: int) -> Float64:
        at_1, at_2 = np.divmod(np.arange(start, stop), rows_2)
        one: Float64 = first[0].values()[at_1]
        if len(first) > 1:
            one = one @ first[1].values()
        return np.asarray(np.einsum("ni,nj->nij", one, second[0].values()[at_2])).reshape(
            stop - start, columns_1 * rank
        )

    def right(start: int, stop: int) -> Float64:
        at_1, at_2 = np.divmod(np.arange(start, stop), rank)
        out = np.zeros((stop - start, columns_1, columns_2))
        a = second[1].values() if len(second) > 1 else np.eye(rank)
        out[np.arange(stop - start), at_1] = a[at_2]
        return out.reshape(stop - start, columns_1 * columns_2)

    name = first[0].name
    return (
        computed(name, (columns_1 * rank, columns_1 * columns_2), right),
        computed(name, (rows_1 * rows_2, columns_1 * rank), left),
    )
