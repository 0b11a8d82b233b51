"""What config.json says of how the weights were quantised: a few numbers and words, nothing else of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any

from bitfit_probe.frozen import Frozen

__all__ = ["Settings", "settings_of"]

#: Libraries write it under the first name, older ones under the third, MLX under the second as well.
_KEYS = ("quantization_config", "quantization", "compression_config")
_MOST_BITS, _LARGEST_GROUP, _LONGEST_WORD = 8, 1 << 16, 40


class Settings(Frozen):
    """Of a model or one of its modules; None for what is not said.

    Attributes
    ----------
    method
        Such as ``gptq``.
    form
        How the codes are laid out, such as ``gptq_v2``, ``gemm`` or ``mxfp4``.
    bits, group_size
        Of a code, and elements that share a scale.
    block
        Rows and columns that share a scale.
    modules
        Those that differ from the model, by their names.
    """

    method: str | None = None
    form: str | None = None
    bits: int | None = None
    group_size: int | None = None
    block: tuple[int, int] | None = None
    modules: Mapping[str, Settings] = field(default_factory=dict)

    def of(self, module: str) -> Settings:
        """Those of one module."""
        return self.modules.get(module, self)


def settings_of(config: Mapping[str, Any]) -> Settings:
    """What `config`, the content of config.json, says."""
    stated = next((found for key in _KEYS if isinstance(found := config.get(key), dict)), None)
    if stated is None:
        text = config.get("text_config")
        return settings_of(text) if isinstance(text, dict) and "text_config" not in text else Settings()
    modules = {name: _one(item, {}) for name, item in stated.items() if isinstance(item, dict)}
    own, grouped = _one(stated, modules), _of_groups(stated.get("config_groups"))
    return replace(own, bits=own.bits or grouped.bits, block=own.block or grouped.block)


def _one(stated: Mapping[str, Any], modules: Mapping[str, Settings]) -> Settings:
    block = stated.get("weight_block_size", stated.get("block_structure"))
    sizes = tuple(_number({"": size}, _LARGEST_GROUP) for size in block) if isinstance(block, list) else ()
    rows, columns = sizes if len(sizes) == 2 else (None, None)
    return Settings(
        method=_word(stated, "quant_method"),
        form=_word(stated, "checkpoint_format", "version", "mode", "format"),
        bits=_number(stated, _MOST_BITS, "bits", "w_bit", "num_bits"),
        group_size=_number(stated, _LARGEST_GROUP, "group_size", "q_group_size"),
        block=(rows, columns) if rows and columns else None,
        modules=modules,
    )


def _of_groups(groups: Any) -> Settings:
    """What compressed-tensors says of the weights, where all groups agree."""
    found = groups.values() if isinstance(groups, dict) else ()
    weights = [item.get("weights") for item in found if isinstance(item, dict)]
    said = [_one(item, {}) for item in weights if isinstance(item, dict)]
    return said[0] if said and all(item == said[0] for item in said) else Settings()


def _number(stated: Mapping[str, Any], most: int, *keys: str) -> int | None:
    found = next((stated[key] for key in keys or ("",) if key in stated), None)
    return found if type(found) is int and 0 < found <= most else None


def _word(stated: Mapping[str, Any], *keys: str) -> str | None:
    found = next((stated[key] for key in keys if key in stated), None)
    return found.lower() if isinstance(found, str) and len(found) <= _LONGEST_WORD else None
