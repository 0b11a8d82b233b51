"""From an adapter's file and its configuration to what it changes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from bitfit_probe.checkpoint.adapters import tokens
from bitfit_probe.checkpoint.adapters.interface import Method, not_read
from bitfit_probe.checkpoint.interface import Adapter, Checkpoint, read_json
from bitfit_probe.checkpoint.registry import modules_of, trained
from bitfit_probe.checkpoint.storage.tensor import Tensor
from bitfit_probe.errors import UnsupportedError

__all__ = ["CONFIG", "as_adapter", "is_adapter"]

CONFIG = "adapter_config.json"
_PREFIX = "base_model.model."
#: What peft's wrappers leave in the names of whole tensors.
_WRAPPED = re.compile(r"\.(?:base_layer|modules_to_save(?:\.default)?|original_module)(?=\.)")


def is_adapter(path: Path, names: Iterable[str]) -> bool:
    """Whether a weight file is an adapter: by its name, or by peft's prefix and configuration."""
    if path.name in trained().adapters:
        return True
    return (path.parent / CONFIG).is_file() and any(name.startswith(_PREFIX) for name in names)


def as_adapter(checkpoint: Checkpoint) -> Checkpoint:
    """`checkpoint`, the raw tensors of an adapter, with its `adapter`.

    Raises
    ------
    UnsupportedError
        No adapter_config.json that names a method, or one that only peft can apply.
    """
    config = read_json(checkpoint.folder / CONFIG)
    if config is None or not isinstance(config.get("peft_type"), str):
        raise UnsupportedError(
            f"an adapter without a {CONFIG} that names its method",
            advice=f"copy {CONFIG} from where the adapter was saved: without it the scale is not known",
            path=checkpoint.path,
        )
    adapter = _adapter(_plain(checkpoint.tensors), config, checkpoint.path)
    return replace(checkpoint, format=f"PEFT {adapter.label}, {checkpoint.format}", adapter=adapter)


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {_WRAPPED.sub("", name.removeprefix(_PREFIX)): tensor for name, tensor in tensors.items()}


def _adapter(tensors: Mapping[str, Tensor], config: Mapping[str, Any], path: Path) -> Adapter:
    method = next((item for item in _methods() if config["peft_type"] == item.PEFT_TYPE), None)
    if method is None:
        raise not_read(f"a PEFT adapter of the kind {config['peft_type'][:40]!r}, which is not read", path)
    own = {name: tensor for name, tensor in tensors.items() if method.matches(name)}
    changes = method.changes(own, config, path)
    rows = tokens.changes(tensors, config, path)
    stored = dict(changes.stored)
    for name, tensor in tensors.items():
        if name not in own and not tokens.matches(name):
            stored[name] = replace(tensor, name=name)
    return Adapter(
        label=method.label(config),
        config=config,
        altered={**changes.altered, **rows},
        stored=stored,
        incomplete=changes.incomplete,
    )


def _methods() -> tuple[Method, ...]:
    return tuple(cast("Method", module) for module in modules_of("adapters", "PEFT_TYPE"))
