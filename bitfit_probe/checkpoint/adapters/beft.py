"""BEFT: b + Δb for chosen biases (arXiv 2509.15974). Names and rule: ``peft/tuners/beft/layer.py``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitfit_probe.checkpoint.adapters.interface import Changes
from bitfit_probe.checkpoint.adapters.lora import BiasShift
from bitfit_probe.checkpoint.storage.tensor import Tensor

__all__ = ["PEFT_TYPE", "changes", "label", "matches"]

PEFT_TYPE = "BEFT"
_SHIFT = re.compile(r"(?P<module>.+)\.beft_bias(?:\.[^.]+)?")


def matches(name: str) -> bool:
    """Whether the name is that of an added bias."""
    return _SHIFT.fullmatch(name) is not None


def label(config: Mapping[str, Any]) -> str:
    """BEFT."""
    return "BEFT"


def changes(tensors: Mapping[str, Tensor], config: Mapping[str, Any], path: Path) -> Changes:
    """The biases that the added ones change."""
    altered = {}
    for name, tensor in tensors.items():
        match = _SHIFT.fullmatch(name)
        assert match is not None
        bias = f"{match['module']}.bias"
        altered[bias] = BiasShift(bias, tensor)
    return Changes(altered)
