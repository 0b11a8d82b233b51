"""What a config.json may say to transformers: numbers, names of functions and layers, labels; no source.

A config class takes whatever it is given. Some of it names a repository on the Hub, a kernel, a backbone, a
quantiser or a Python file, which is then fetched, imported or run. So nothing passes that is not on the list:

- numbers, truth values and lists of them, under any name that is not the class's own machinery;
- plain words, under the names of settings that choose a function, a kind of layer or a way to pool;
- labels, as they are;
- the same inside nested settings (``text_config``, ``rope_parameters``, …).

Everything else is left out, and the attention and the element type are ours to choose. What a model can't be
built without (a backbone, a quantiser) is refused instead.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bitfit_probe.errors import ModelError
from bitfit_probe.inference.libraries import transformers_library
from bitfit_probe.inference.limits import check_number

__all__ = ["LABELS", "class_of", "plain_settings"]

#: Settings whose value is the name of a function or of a kind of layer.
_WORD_KEYS = re.compile(
    r"(.*_)?(act|afn|activation|activation_function|act_fn|act_func|type|types|norm|method|fn|func|function"
    r"|strategy|scheme|policy|reduction|pooling|proj|pattern|op|initializer|act_type|block_type)"
)
#: The same under names that follow no rule; ``auto`` among the numbers of Mamba.
_WORDS_TOO = (
    "approx_mode",
    "attn_layers",
    "cross_attention_shape_for_attention",
    "default_language",
    "downsample_mode",
    "force_dequant",
    "gating",
    "interpolate_mode",
    "langs",
    "languages",
    "logit_scale",
    "loss",
    "mamba_d_head",
    "mamba_dt_rank",
    "mode",
    "pad_mode",
    "padding_mode",
    "patching_mode",
    "pooler_hidden_act",
    "scaling",
    "spatial_pool_mode",
    "time_step_rank",
)
_WORD = re.compile(r"[A-Za-z0-9_+-]{1,64}")
#: Said by nearly every config.json and of no use here: who wrote it, and what we choose ourselves.
_OURS = ("architectures", "dtype", "init_device", "torch_dtype", "transformers_version", "vocab_list")
#: These take no part either, though their values are no words: they switch to other code, or shape answers.
_LEFT_OUT = (
    "attn_implementation",
    "auto_map",
    "custom_pipelines",
    "detectron2_config_args",
    "distributed_config",
    "experts_implementation",
    "fusion_config",
    "generation_config",
    "kernel_config",
    "model_args",
    "name_or_path",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "task_specific_params",
    "torchscript",
    "use_kernels",
    "use_return_dict",
)
#: What no model of ours is built from, and would be something else without.
_REFUSED = {
    "backbone": "is built around a backbone that is named",
    "backbone_config": "is built around a backbone that is named",
    "backbone_kwargs": "is built around a backbone that is named",
    "timm_backbone": "is built around a backbone that is named",
    "use_pretrained_backbone": "is built around a backbone that is named",
    "use_timm_backbone": "is built around a backbone that is named",
    "compression_config": "is quantised",
    "quantization_config": "is quantised",
}
LABELS = ("id2label", "label2id")
_NOT_IN_JSON = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}
_DEPTH = 6


def plain_settings(settings: Mapping[str, Any], cls: Any, home: Path) -> dict[str, Any]:
    """What of `settings` may reach the config class `cls`.

    Raises
    ------
    ModelError
        Something that the model can't be built without is none of it, or a number is beyond all bounds.
    """
    return dict(_passed(settings, cls, home, _DEPTH))


def _passed(settings: Mapping[str, Any], cls: Any, home: Path, depth: int) -> Iterator[tuple[str, Any]]:
    fields = _fields(cls)
    for key, value in settings.items():
        if key in _REFUSED and value not in (None, False, "", {}) and key not in _unused(settings):
            raise _refused(home, f"config.json sets {key}: the model {_REFUSED[key]}")
        if key.startswith("_") or key in _OURS or key in _LEFT_OUT or key in _REFUSED or key in _machinery():
            continue
        value = _numbers_in(value)
        if key in LABELS:
            if _are_labels(value):
                yield key, value
        elif isinstance(value, dict):
            if depth:
                yield key, _nested(key, value, cls, home, depth - 1)
        elif isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
            if depth:
                yield key, [_nested(key, entry, cls, home, depth - 1) for entry in value]
        elif _is_plain(value, key, declared=key in fields or key == "num_labels", home=home):
            yield key, value
        elif key in fields and _names_words(key):
            _check_words(key, value, home)
            yield key, value
        elif key in fields and cls is not None and value != fields[key]:
            raise _refused(home, f"config.json sets {key} to {value!r:.80}, which is not passed on")


def _numbers_in(value: Any) -> Any:
    """The value with transformers' way to write an infinity in JSON turned into one."""
    if isinstance(value, list):
        return [_numbers_in(entry) for entry in value]
    if isinstance(value, dict) and set(value) == {"__float__"}:
        return _NOT_IN_JSON.get(str(value["__float__"]), value)
    return value


def _unused(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Switches for a backbone are said by configs that name none."""
    if any(settings.get(key) for key in ("backbone", "backbone_config", "timm_backbone")):
        return ()
    return ("backbone_kwargs", "use_pretrained_backbone", "use_timm_backbone")


def _nested(key: str, value: Mapping[str, Any], cls: Any, home: Path, depth: int) -> dict[str, Any]:
    """Settings inside settings: of another class where they have one, else words and numbers."""
    specs = getattr(cls, "sub_configs_defaults", None) or {}
    kind, inner = value.get("model_type") or None, None
    said = {name: entry for name, entry in value.items() if name != "model_type"}
    if key in specs and dataclasses.is_dataclass(specs[key].config_class):  # whatever it calls itself
        return dict(_passed(said, specs[key].config_class, home, depth))
    if kind is not None or key in specs:
        inner = class_of(kind or specs[key].model_type, home)
    passed = dict(_passed(said, inner, home, depth))
    return passed if kind is None else passed | {"model_type": kind}


def class_of(kind: Any, home: Path) -> Any:
    """The config class of a model type; one that wraps another library is none."""
    transformers = transformers_library()
    known = transformers.models.auto.configuration_auto.CONFIG_MAPPING
    if not isinstance(kind, str) or kind not in known:
        raise _refused(
            home, f"transformers {transformers.__version__} does not know the model type {kind!r:.80}"
        )
    if kind.startswith("timm"):
        raise _refused(home, f"config.json says {kind}: the model {_REFUSED['backbone']}")
    return known[kind]


def _fields(cls: Any) -> dict[str, Any]:
    """What a config class declares, with the defaults; any key counts as declared where none is known."""
    if cls is None:
        return _Anything()
    own = {field.name: field.default for field in dataclasses.fields(cls)}
    return own | {name: own.get(meant) for name, meant in cls.attribute_map.items()}


class _Anything(dict[str, Any]):
    """Settings without a class of their own (``rope_parameters``): every name may be said."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> None:
        return None


@cache
def _machinery() -> frozenset[str]:
    """Names that a config object needs for itself: its methods, class attributes and properties."""
    base = transformers_library().PreTrainedConfig
    said = {field.name for field in dataclasses.fields(base)}
    said |= {"num_labels", "per_layer_config", "rope_scaling"}
    return frozenset(name for name in dir(base) if name not in said)


def _is_plain(value: Any, key: str, *, declared: bool, home: Path) -> bool:
    """Whether a value is a number, a truth value, null, or lists of them."""
    if value is None or isinstance(value, bool | float):
        return True
    if isinstance(value, int):
        return check_number(key, value, declared, home)
    if isinstance(value, list):
        return all(_is_plain(entry, key, declared=declared, home=home) for entry in value)
    return False


def _names_words(key: str) -> bool:
    return key in _WORDS_TOO or _WORD_KEYS.fullmatch(key) is not None


def _check_words(key: str, value: Any, home: Path) -> None:
    for word in value if isinstance(value, list) else [value]:
        if isinstance(word, list):
            _check_words(key, word, home)
        elif isinstance(word, dict) or (isinstance(word, str) and not _WORD.fullmatch(word)):
            raise _refused(home, f"config.json sets {key} to {word!r:.80}, which is no plain word")


def _are_labels(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(entry, str | int) for entry in value.values())


def _refused(home: Path, what: str) -> ModelError:
    return ModelError(
        what, advice="take the config.json of a model of text, as transformers writes it", path=home
    )
