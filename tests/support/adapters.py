"""Adapters of known content, written as peft writes them, without a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

Factors = tuple[np.ndarray, np.ndarray]


def factors(out: int, size: int, rank: int, seed: int) -> Factors:
    """A and B of normal noise, float32."""
    draw = np.random.default_rng(seed)
    a, b = draw.standard_normal((rank, size)), draw.standard_normal((out, rank))
    return a.astype(np.float32), b.astype(np.float32)


def write_lora(
    folder: Path, modules: Mapping[str, Factors], more: Mapping[str, np.ndarray] | None = None, **config: Any
) -> Path:
    """A LoRA adapter of A and B by module, with more tensors by name and more settings."""
    folder.mkdir(parents=True)
    tensors = {
        f"{name}.lora_{key}.weight": factor
        for name, pair in modules.items()
        for key, factor in zip("AB", pair, strict=True)
    }
    named = {
        f"base_model.model.{name}": np.ascontiguousarray(value)
        for name, value in {**tensors, **(more or {})}.items()
    }
    save_file(named, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "lora_alpha": 8, "r": 4} | config)
    )
    return folder
