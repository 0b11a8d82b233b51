"""LoRA: W + s·B·A (Hu et al. 2022), with rsLoRA's scale and DoRA's magnitudes.

Names and rules: ``peft/tuners/lora/layer.py`` (``merge``, ``get_delta_weight``) and ``lora/variants.py``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bitfit_probe.checkpoint.adapters.experts import ExpertsLowRank, parameter_of
from bitfit_probe.checkpoint.adapters.interface import Changes, not_read
from bitfit_probe.checkpoint.adapters.low_rank import LowRank
from bitfit_probe.checkpoint.adapters.parts import looked_up
from bitfit_probe.checkpoint.adapters.patterns import NamePatterns
from bitfit_probe.checkpoint.interface import Adapter, Change
from bitfit_probe.checkpoint.storage.computed import Float64, computed, rows_of
from bitfit_probe.checkpoint.storage.tensor import Tensor
from bitfit_probe.errors import AmbiguousError, UnsupportedError
from bitfit_probe.frozen import Frozen

__all__ = ["PEFT_TYPE", "changes", "label", "low_rank", "matches"]

PEFT_TYPE = "LORA"

_FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<factor>[AB])(?:\.[^.]+)?\.(?P<leaf>weight|bias)")
_EMBEDDING = re.compile(r"(?P<module>.+)\.lora_embedding_(?P<factor>[AB])(?:\.[^.]+)?")
_MAGNITUDE = re.compile(r"(?P<module>.+)\.lora_magnitude_vector(?:\.[^.]+){0,2}")
#: Variants whose change is not s·B·A of the stored factors: they look at the input, or need the base's SVD.
_OTHER_VARIANTS = (
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "megatron_config",
    "monteclora_config",
    "use_bdlora",
    "use_qalora",
    "velora_config",
)
#: Of these, what looks at the input and so can't be merged.
_NEVER_MERGED = ("alora_invocation_tokens", "arrow_config")
#: Initialisations that take the first factors out of the base's weights.
_CHANGE_THE_BASE = ("pissa", "olora", "corda", "lora_ga", "loftq")
#: Beyond any that means something; what is larger would overflow in the products.
_LARGEST_ALPHA = 1_000_000


class BiasShift(Frozen, eq=False):
    """A bias that gets s·v added (``lora_bias=True``)."""

    name: str
    shift: Tensor
    scale: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the bias."""
        return (self.shift.size,)

    @property
    def vectors(self) -> Mapping[str, Tensor]:
        """s·v."""
        if self.scale == 1:
            return {self.name: replace(self.shift, name=self.name)}

        def rows(start: int, stop: int) -> Float64:
            return self.scale * self.shift.block(start, stop)[:, np.newaxis]

        return {self.name: computed(self.name, self.shape, rows)}

    def tuned(self, base: Tensor, *, in_out: bool) -> Tensor:
        """What `base` becomes; see `Change`."""
        if base.shape != self.shape:
            raise ValueError(f"{self.name}: a shift of {self.shape}, the base has {base.shape}")

        def rows(start: int, stop: int) -> Float64:
            return rows_of(base, start, stop) + self.scale * self.shift.block(start, stop)[:, np.newaxis]

        return computed(self.name, base.shape, rows)


def low_rank(adapter: Adapter) -> dict[str, LowRank]:
    """The changes by factors, by the name of the altered tensor."""
    return {name: change for name, change in adapter.altered.items() if isinstance(change, LowRank)}


def matches(name: str) -> bool:
    """Whether the name is that of a factor or a magnitude."""
    return _parsed(name) is not None


def _parsed(name: str) -> tuple[str, str] | None:
    """The module and what of it the tensor is: ``A``, ``B``, ``eA``, ``eB``, ``bias`` or ``m``."""
    if match := _FACTOR.fullmatch(name):
        return match["module"], "bias" if match["leaf"] == "bias" else match["factor"]
    if match := _EMBEDDING.fullmatch(name):
        return match["module"], "e" + match["factor"]
    if match := _MAGNITUDE.fullmatch(name):
        return match["module"], "m"
    return None


def label(config: Mapping[str, Any]) -> str:
    """DoRA, rsLoRA or LoRA."""
    return "DoRA" if config.get("use_dora") else "rsLoRA" if config.get("use_rslora") else "LoRA"


def changes(tensors: Mapping[str, Tensor], config: Mapping[str, Any], path: Path) -> Changes:
    """The matrices that the factors change.

    Raises
    ------
    UnsupportedError
        Patterns or an alpha that are not read.
    AmbiguousError
        The factors of several adapters.
    """
    modules: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        parsed = _parsed(name)
        assert parsed is not None
        parts = modules.setdefault(parsed[0], {})
        if parsed[1] in parts:
            raise AmbiguousError(
                f"holds several adapters for {parsed[0]!r}",
                advice="save each adapter alone with save_pretrained(selected_adapters=[…])",
                path=path,
            )
        parts[parsed[1]] = tensor
    altered: dict[str, Change] = {}
    incomplete = []
    alphas, ranks = (NamePatterns(config.get(key)) for key in ("alpha_pattern", "rank_pattern"))
    misranked = {}
    for module, parts in modules.items():
        parameter = parameter_of(module, modules, config)
        if parameter is not None and parts.keys() == {"A", "B"}:
            experts = _experts(parameter, parts, config, (alphas, ranks), path)
            altered[experts.name] = experts
            continue
        change = _low_rank(module, parts, config, alphas, path)
        if change is None:
            incomplete.append(module)
            continue
        altered[change.name] = change
        promised = looked_up(ranks, "rank_pattern", module, config.get("r"), path)
        if isinstance(promised, int) and promised != change.rank:
            misranked[module] = promised, change.rank
        if "bias" in parts:
            altered[f"{module}.bias"] = BiasShift(f"{module}.bias", parts["bias"], change.scale)
    variant = _other_variant(config, path)
    return Changes(altered, incomplete=tuple(incomplete), misranked=misranked, unread=variant)


def _other_variant(config: Mapping[str, Any], path: Path) -> UnsupportedError | None:
    found = next((key for key in _OTHER_VARIANTS if config.get(key)), None)
    if found:
        what = f"a LoRA with {found}, which its factors alone don't tell"
        return not_read(what, path, merges=found not in _NEVER_MERGED)
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_CHANGE_THE_BASE):
        return not_read(f"a LoRA that started from {start}, which changes the base as well", path)
    return None


def _low_rank(
    module: str, parts: Mapping[str, Tensor], config: Mapping[str, Any], alphas: NamePatterns, path: Path
) -> LowRank | None:
    embedding = "eA" in parts or "eB" in parts
    a, b = (parts.get(key) for key in (("eA", "eB") if embedding else ("A", "B")))
    if a is None or b is None or min(len(a.shape), len(b.shape)) < 2 or not (a.size and b.size):
        return None
    if b.shape[1] != a.shape[0]:
        return None
    scale = _scale(module, a.shape[0], config, alphas, path)
    return LowRank(f"{module}.weight", a, b, scale, parts.get("m"), embedding)


def _experts(
    name: str,
    parts: Mapping[str, Tensor],
    config: Mapping[str, Any],
    patterns: tuple[NamePatterns, NamePatterns],
    path: Path,
) -> Change:
    """The change of a parameter: of one matrix an expert, or of one that stands alone."""
    alphas, ranks = patterns
    a, b = parts["A"], parts["B"]
    rank = looked_up(ranks, "rank_pattern", name, config.get("r"), path)
    fits = isinstance(rank, int) and rank > 0 and a.shape and not a.shape[0] % rank
    if not fits or len(a.shape) != 2 or len(b.shape) != 2 or b.shape[1] != a.shape[0]:
        raise not_read(f"the factors of {name!r} have shapes that its rank does not explain", path)
    scale = _scale(name, rank, config, alphas, path)
    alone = a.shape[0] == rank
    return LowRank(name, a, b, scale) if alone else ExpertsLowRank(name, a, b, rank, scale)


def _scale(module: str, rank: int, config: Mapping[str, Any], alphas: NamePatterns, path: Path) -> float:
    alpha = looked_up(alphas, "alpha_pattern", module, config.get("lora_alpha", rank), path)
    if not isinstance(alpha, (int, float)) or not abs(alpha) <= _LARGEST_ALPHA:  # NaN is not, either
        raise not_read(f"its lora_alpha is no number up to {_LARGEST_ALPHA:,}", path)
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
