"""From an adapter's file and its configuration to what it changes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from bitfit_probe.checkpoint.adapters import loralib, mlx, tokens
from bitfit_probe.checkpoint.adapters.interface import Changes, Method, not_read
from bitfit_probe.checkpoint.interface import Adapter, Checkpoint, read_json
from bitfit_probe.checkpoint.registry import modules_of, trained
from bitfit_probe.checkpoint.storage.tensor import Tensor
from bitfit_probe.errors import UnsupportedError

__all__ = ["CONFIG", "as_adapter", "is_adapter"]

CONFIG = "adapter_config.json"
_PREFIX = "base_model.model."
#: What peft's wrappers leave in the names of whole tensors. Wrappers of parameters stand in each other.
_WRAPPED = re.compile(
    r"\.(?:base_layer(?!(?:\.base_layer)*\.lora_)|modules_to_save(?:\.default)?|original_module)(?=\.)"
)


#: Methods that put tokens, states or layers beside the weights.
_WITHOUT_WEIGHTS = (
    "ADAPTION_PROMPT",
    "CARTRIDGE",
    "CPT",
    "MULTITASK_PROMPT_TUNING",
    "PREFIX_TUNING",
    "PROMPT_TUNING",
    "P_TUNING",
    "SHADOW",
)
#: Methods whose change of a weight hangs on the input or on the task.
_NEVER_MERGED = ("LILY", "POLY")


def is_adapter(path: Path, names: Iterable[str]) -> bool:
    """Whether a weight file is an adapter: by its name, its tensors', or these and its configuration."""
    if path.name in trained().adapters:
        return True
    names = tuple(names)
    if loralib.are_factors_alone(names):
        return True
    config = read_json(path.parent / CONFIG)
    own = mlx.matches if config and mlx.is_configuration(config) else re.compile(re.escape(_PREFIX)).match
    return config is not None and any(map(own, names))


def as_adapter(checkpoint: Checkpoint) -> Checkpoint:
    """`checkpoint`, the raw tensors of an adapter, with its `adapter`.

    Raises
    ------
    UnsupportedError
        No adapter_config.json that names a method, or one that only peft can apply.
    """
    config = read_json(checkpoint.folder / CONFIG) or {}
    kind = _kind(config, checkpoint.tensors)
    if kind is None:
        raise UnsupportedError(
            f"an adapter without a {CONFIG} that names its method",
            advice=f"copy {CONFIG} from where the adapter was saved: without it the scale is not known",
            path=checkpoint.path,
        )
    path = checkpoint.path
    method = next((item for item in _methods() if kind == item.PEFT_TYPE), None)
    tensors = _plain(checkpoint.tensors)
    own = {name: tensor for name, tensor in tensors.items() if method is not None and method.matches(name)}
    changes = (
        method.changes(own, config, path) if method is not None else Changes({}, unread=_unknown(kind, path))
    )
    rows = tokens.new_rows(tensors, config, path)
    others = (name for name in tensors if name not in own and not tokens.matches(name))
    adapter = Adapter(
        label=method.label(config) if method is not None else kind[:40],
        config=config,
        altered={**changes.altered, **rows},
        stored={**changes.stored, **{name: replace(tensors[name], name=name) for name in others}},
        incomplete=changes.incomplete,
        misranked=changes.misranked,
        unread=changes.unread,
    )
    whose = "PEFT " if "peft_type" in config else ""
    return replace(
        checkpoint,
        format=f"{whose}{adapter.label}, {checkpoint.format}",
        adapter=adapter,
        notes=(*checkpoint.notes, *changes.notes, *_misranked(changes.misranked)),
    )


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {_WRAPPED.sub("", name.removeprefix(_PREFIX)): tensor for name, tensor in tensors.items()}


def _misranked(found: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    if found:
        module, (promised, rank) = next(iter(found.items()))
        yield (
            f"{len(found)} of its modules have another rank than {CONFIG} tells ({module}: {rank} instead of"
            f" {promised}): peft refuses to load it"
        )


def _kind(config: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """Whose names and rules the file has; None where nothing tells."""
    kind = config.get("peft_type")
    if mlx.is_configuration(config):
        return mlx.PEFT_TYPE
    if kind in (None, "LORA") and loralib.are_factors_alone(names):
        return loralib.PEFT_TYPE
    return kind if isinstance(kind, str) else None


def _unknown(kind: str, path: Path) -> UnsupportedError:
    """The refusal of a method that is not read, with what it does where peft can't merge it."""
    if kind in _WITHOUT_WEIGHTS:
        return not_read(f"a PEFT adapter of the kind {kind!r}, which changes no weight", path, merges=False)
    if kind == "XLORA":
        what, mixed = "a PEFT adapter of the kind 'XLORA', which mixes LoRAs by the input", path.parent / "0"
        return UnsupportedError(what, advice=f"give one of these, such as {mixed}", path=path)
    what = f"a PEFT adapter of the kind {kind[:40]!r}, which is not read"
    return not_read(what, path, merges=kind not in _NEVER_MERGED)


def _methods() -> tuple[Method, ...]:
    return tuple(cast("Method", module) for module in modules_of("adapters", "PEFT_TYPE"))
