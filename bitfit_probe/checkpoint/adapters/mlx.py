"""LoRA, DoRA and whole layers as mlx-lm saves them: ``adapters.safetensors`` beside its own configuration.

Names and rules: ``mlx_lm/tuner/lora.py`` and ``dora.py``. The factors stand as (in, r) and (r, out), turned
against peft's, and the scale is told as it is; where alpha is told as well it is times alpha / rank.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bitfit_probe.checkpoint.adapters.interface import Changes
from bitfit_probe.checkpoint.adapters.low_rank import LowRank
from bitfit_probe.checkpoint.interface import Change
from bitfit_probe.checkpoint.storage.tensor import Tensor
from bitfit_probe.errors import UnsupportedError

__all__ = ["PEFT_TYPE", "changes", "is_configuration", "label", "matches"]

#: No type of peft's: the configuration is told by its keys.
PEFT_TYPE = "MLX"
_FACTOR = re.compile(r"(?P<module>.+)\.(?P<factor>lora_a|lora_b|m)")
_EMBEDDING = re.compile(r"(?:.+\.)?(?:embed_tokens|wte|word_embeddings|embeddings)")
#: Beyond any that means something.
_LARGEST = 1e6
_FUSE = "fuse it with mlx_lm.fuse --model BASE --adapter-path DIR --save-path OUT, and give OUT"


def is_configuration(config: Mapping[str, Any]) -> bool:
    """Whether an adapter_config.json is mlx-lm's."""
    return "peft_type" not in config and not {"fine_tune_type", "lora_parameters"}.isdisjoint(config)


def matches(name: str) -> bool:
    """Whether the name is that of a factor or of DoRA's magnitudes."""
    return _FACTOR.fullmatch(name) is not None


def label(config: Mapping[str, Any]) -> str:
    """The method, with whose it is."""
    kind = config.get("fine_tune_type")
    return {"dora": "MLX DoRA", "full": "MLX, whole layers"}.get(str(kind), "MLX LoRA")


def changes(tensors: Mapping[str, Tensor], config: Mapping[str, Any], path: Path) -> Changes:
    """The matrices that the factors change.

    Raises
    ------
    UnsupportedError
        Factors without a scale in the configuration, or of experts (three axes).
    """
    modules: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = _FACTOR.fullmatch(name)
        assert match is not None
        modules.setdefault(match["module"], {})[match["factor"]] = tensor
    scale = _scale(config, path) if modules else 0.0
    altered: dict[str, Change] = {}
    incomplete = []
    for module, parts in modules.items():
        a, b = (parts.get(key) for key in ("lora_a", "lora_b"))
        if a is None or b is None or not (a.size and b.size):
            incomplete.append(module)
            continue
        if len(a.shape) != 2 or len(b.shape) != 2:
            raise UnsupportedError(f"an MLX adapter of experts ({module!r})", advice=_FUSE, path=path)
        embedding = _EMBEDDING.fullmatch(module) is not None
        name = f"{module}.weight"
        altered[name] = LowRank(name, _turned(a), _turned(b), scale, parts.get("m"), embedding)
    return Changes(altered, incomplete=tuple(incomplete), notes=_notes(altered, config))


def _turned(factor: Tensor) -> Tensor:
    return replace(factor, shape=factor.shape[::-1], strides=factor.strides[::-1])


def _scale(config: Mapping[str, Any], path: Path) -> float:
    given = config.get("lora_parameters")
    known = given if isinstance(given, Mapping) else {}
    scale, alpha, rank = (_number(known.get(key)) for key in ("scale", "alpha", "rank"))
    if scale is None:
        raise UnsupportedError("an MLX adapter without lora_parameters.scale", advice=_FUSE, path=path)
    return scale if alpha is None or not rank else scale * alpha / rank


def _number(value: object) -> float | None:
    usable = isinstance(value, (int, float)) and abs(value) < _LARGEST
    return float(value) if usable and isinstance(value, (int, float)) else None


def _notes(altered: Mapping[str, Change], config: Mapping[str, Any]) -> tuple[str, ...]:
    """How many layers the file changes, where the configuration promises another number."""
    promised = config.get("num_layers")
    layers = {number for name in altered for number in re.findall(r"\.(\d+)\.", name)[:1]}
    if not isinstance(promised, int) or promised < 0 or len(layers) in (0, promised):
        return ()
    return (f"its configuration says num_layers {promised}, the file changes {len(layers)}",)
