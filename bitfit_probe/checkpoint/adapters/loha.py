"""LoHa: W + s·(B₁A₁)∘(B₂A₂) (Hyeon-Woo et al. 2022). Names and rule: ``peft/tuners/loha/layer.py``.

The product by elements of two matrices of rank r is one of rank r²: rows of its left factor are the Kronecker
products of rows of B₁ and B₂, rows of its right factor the products by elements of rows of A₁ and A₂.
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

PEFT_TYPE = "LOHA"
_FACTORS = ("hada_w1_a", "hada_w2_a", "hada_w1_b", "hada_w2_b")
_KERNELS = ("hada_t1", "hada_t2")


def matches(name: str) -> bool:
    """Whether the name is that of a factor."""
    return is_part(name, (*_FACTORS, *_KERNELS))


def label(config: Mapping[str, Any]) -> str:
    """LoHa."""
    return "LoHa"


def changes(tensors: Mapping[str, Tensor], config: Mapping[str, Any], path: Path) -> Changes:
    """The matrices that the factors change."""
    alphas = NamePatterns(config.get("alpha_pattern"))

    def make(module: str, parts: Parts) -> LowRank | None:
        if any(kernel in parts for kernel in _KERNELS):
            raise not_read("a LoHa with use_effective_conv2d", path)
        if not all_there(parts, _FACTORS):
            return None
        left, right = [parts[name] for name in _FACTORS[:2]], [parts[name] for name in _FACTORS[2:]]
        rank = right[0].shape[0]
        if {b.shape[1:] for b in left} != {(rank,)} or right[0].shape != right[1].shape:
            return None
        alpha = looked_up(alphas, "alpha_pattern", module, config.get("alpha", rank), path)
        if not isinstance(alpha, (int, float)):
            raise not_read("a LoHa without its alpha", path)
        return LowRank(f"{module}.weight", _inner(*right), _outer(*left), alpha / rank)

    return changes_of(tensors, (*_FACTORS, *_KERNELS), make)


def _outer(one: Tensor, two: Tensor) -> Tensor:
    rank = one.shape[1]

    def rows(start: int, stop: int) -> Float64:
        b, c = (each.block(start * rank, stop * rank).reshape(-1, rank) for each in (one, two))
        return np.asarray(np.einsum("ni,nj->nij", b, c)).reshape(stop - start, rank * rank)

    return computed(one.name, (one.shape[0], rank * rank), rows)


def _inner(one: Tensor, two: Tensor) -> Tensor:
    rank, columns = one.shape

    def rows(start: int, stop: int) -> Float64:
        first, second = np.divmod(np.arange(start, stop), rank)
        product: Float64 = one.values()[first] * two.values()[second]
        return product

    return computed(one.name, (rank * rank, columns), rows)
