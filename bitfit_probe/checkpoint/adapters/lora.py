"""LoRA: W + s·B·A (Hu et al. 2022), with rsLoRA's scale and DoRA's magnitudes.

Names and rules: ``peft/tuners/lora/layer.py`` (``merge``, ``get_delta_weight``) and ``lora/variants.py``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bitfit_probe.checkpoint.adapters.interface import Changes, not_read
from bitfit_probe.checkpoint.adapters.parts import looked_up
from bitfit_probe.checkpoint.adapters.patterns import NamePatterns
from bitfit_probe.checkpoint.interface import Adapter, Change
from bitfit_probe.checkpoint.storage.computed import Float64, computed, rows_of
from bitfit_probe.checkpoint.storage.tensor import Tensor
from bitfit_probe.errors import AmbiguousError, UnsupportedError

__all__ = ["PEFT_TYPE", "LowRank", "changes", "label", "low_rank", "matches"]

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
    "target_parameters",
    "use_bdlora",
    "use_qalora",
    "velora_config",
)
#: Of these, what looks at the input and so can't be merged.
_NEVER_MERGED = ("alora_invocation_tokens", "arrow_config")
#: Initialisations that take the first factors out of the base's weights.
_CHANGE_THE_BASE = ("pissa", "olora", "corda", "lora_ga", "loftq")
_ROWS = 256
#: Beyond any that means something; what is larger would overflow in the products.
_LARGEST_ALPHA = 1_000_000


@dataclass(frozen=True, eq=False)
class LowRank:
    """A matrix that gets s·B·A added, and with DoRA a new length for each output.

    Attributes
    ----------
    name
        Name of the altered tensor in the tuned model.
    a, b
        The factors as stored: shapes (r, in …) and (out, r …).
    scale
        s: alpha / r, or alpha / √r for rsLoRA.
    magnitude
        DoRA's magnitudes, one an output, or None (Liu et al. 2024, eq. 5).
    embedding
        Whether it is an embedding, of which the rows are the inputs.
    """

    name: str
    a: Tensor
    b: Tensor
    scale: float
    magnitude: Tensor | None = None
    embedding: bool = False

    @property
    def rank(self) -> int:
        """The number of rows of A."""
        return self.a.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the matrix, outputs first."""
        return (self.b.shape[0], *self.a.shape[1:])

    @property
    def vectors(self) -> Mapping[str, Tensor]:
        """DoRA's magnitudes."""
        name = self.name.removesuffix("weight") + "lora_magnitude_vector"
        return {} if self.magnitude is None else {name: replace(self.magnitude, name=name)}

    @property
    def update(self) -> Tensor:
        """s·B·A, outputs first, computed by rows."""
        return computed(self.name, self.shape, self.rows)

    def tuned(self, base: Tensor, *, in_out: bool) -> Tensor:
        """What `base` becomes; see `Change`."""
        swapped = self.swapped(base.shape, in_out)

        def rows(start: int, stop: int) -> Float64:
            with np.errstate(all="ignore"):  # what runs over is a finding, not a warning
                weight = self._sum(base, swapped, start, stop)
                return (
                    weight if self.magnitude is None else weight * self._factors(base, swapped, start, stop)
                )

        return computed(self.name, base.shape, rows)

    def swapped(self, shape: tuple[int, ...], in_out: bool) -> bool:
        """Whether the matrix is stored with its inputs first."""
        flat = (*shape[:1], math.prod(shape[1:]))  # some methods store a convolution's factors as matrices
        plain, turned = self.shape in (shape, flat), shape == self.shape[::-1] and len(shape) == 2
        if not plain and not turned:
            raise ValueError(f"{self.name}: factors for {self.shape}, the base has {shape}")
        return turned and (self.embedding or in_out or not plain)

    def rows(self, start: int, stop: int, *, swapped: bool = False) -> Float64:
        """Rows of s·B·A, or of its transpose."""
        a, b = factors(self)
        delta: Float64 = a[:, start:stop].T @ b.T if swapped else b[start:stop] @ a
        delta *= self.scale
        return delta

    def _sum(self, base: Tensor, swapped: bool, start: int, stop: int) -> Float64:
        delta = self.rows(start, stop, swapped=swapped)
        delta += rows_of(base, start, stop)
        return delta

    def _factors(self, base: Tensor, swapped: bool, start: int, stop: int) -> Float64:
        """Magnitude over length, for each row or for each column."""
        assert self.magnitude is not None
        magnitude = self.magnitude.values().reshape(-1)
        if swapped:
            return (magnitude / _column_norms(self, base))[np.newaxis]
        norms = np.linalg.norm(self._sum(base, swapped, start, stop), axis=1)
        scale: Float64 = magnitude[start:stop] / norms
        return scale[:, np.newaxis]


@lru_cache(maxsize=2)
def factors(change: LowRank) -> tuple[Float64, Float64]:
    """A and B in float64 as matrices, shapes (r, in) and (out, r); kept while rows of one tensor are read."""
    return change.a.values().reshape(change.rank, -1), change.b.values().reshape(-1, change.rank)


@lru_cache(maxsize=2)
def _column_norms(change: LowRank, base: Tensor) -> Float64:
    total = np.zeros(base.shape[1])
    for start in range(0, base.shape[0], _ROWS):
        block = change._sum(base, True, start, min(start + _ROWS, base.shape[0]))
        total += np.sum(block * block, axis=0)
    norms: Float64 = np.sqrt(total)
    return norms


@dataclass(frozen=True, eq=False)
class BiasShift:
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


def _scale(module: str, rank: int, config: Mapping[str, Any], alphas: NamePatterns, path: Path) -> float:
    alpha = looked_up(alphas, "alpha_pattern", module, config.get("lora_alpha", rank), path)
    if not isinstance(alpha, (int, float)) or not abs(alpha) <= _LARGEST_ALPHA:  # NaN is not, either
        raise not_read(f"its lora_alpha is no number up to {_LARGEST_ALPHA:,}", path)
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
