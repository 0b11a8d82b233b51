"""An adapter, alone or beside merged weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.checkpoint.adapters import Adapter
from bitfit_probe.checkpoint.registry import trained
from bitfit_probe.pair import Pair

__all__ = ["adapter_beside", "adapter_of", "adapter_settings"]

#: Where a trainer keeps the adapter of the weights that it saves beside them (verl).
_SUBFOLDER = "lora_adapter"


def adapter_of(pair: Pair) -> Adapter:
    """The adapter that the tuned side is, for rules that need one."""
    assert pair.tuned.adapter is not None
    return pair.tuned.adapter


def adapter_beside(tuned: Checkpoint) -> Path | None:
    """The adapter file beside merged weights, where there is one."""
    if tuned.adapter is not None or tuned.path.is_file():
        return None
    folders = (tuned.folder, tuned.folder / _SUBFOLDER)
    paths = (folder / name for folder in folders for name in trained().adapters)
    return next((path for path in paths if path.is_file()), None)


def adapter_settings(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """adapter_config.json beside the weights; empty where there is none."""
    return checkpoint.read_json("adapter_config.json") or {}
