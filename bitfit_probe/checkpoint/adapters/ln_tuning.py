"""LN-tuning: whole norms, trained (arXiv 2312.11420). Names: ``peft/tuners/ln_tuning/layer.py``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bitfit_probe.checkpoint.adapters.interface import Changes
from bitfit_probe.checkpoint.storage.tensor import Tensor

__all__ = ["PEFT_TYPE", "changes", "label", "matches"]

PEFT_TYPE = "LN_TUNING"
_NORM = re.compile(r"(?P<module>.+)\.ln_tuning_layers(?:\.[^.]+)?\.(?P<leaf>weight|bias)")


def matches(name: str) -> bool:
    """Whether the name is that of a trained norm's parameter."""
    return _NORM.fullmatch(name) is not None


def label(config: Mapping[str, Any]) -> str:
    """LN-tuning."""
    return "LN-tuning"


def changes(tensors: Mapping[str, Tensor], config: Mapping[str, Any], path: Path) -> Changes:
    """The norms, as they are stored."""
    stored = {}
    for name, tensor in tensors.items():
        match = _NORM.fullmatch(name)
        assert match is not None
        own = f"{match['module']}.{match['leaf']}"
        stored[own] = replace(tensor, name=own)
    return Changes({}, stored)
