"""A LoRA adapter's factors, and how often its product was added to a matrix.

Hu et al. 2022 (arXiv 2106.09685): a matrix W becomes W + s·B·A, with s = alpha/r, or alpha/√r for
rank-stabilised LoRA (Kalajdzievski 2023, arXiv 2312.03732).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitfit_probe.align import unwrapped
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.checkpoint.interface import read_json
from bitfit_probe.checkpoint.tensor import Tensor
from bitfit_probe.errors import CorruptError, EmptyError, NotFoundError, ShapesError, UnsupportedError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["LoraUpdate", "read_lora"]

_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])(\.[^.]+)?\.weight")
_EMBEDDING = re.compile(r"(?P<module>.+)\.lora_embedding_(?P<side>[AB])(\.[^.]+)?")


@dataclass(frozen=True)
class LoraUpdate:
    """What an adapter adds to one matrix: scale·B·A, transposed where the layer stores its weight so.

    Attributes
    ----------
    a, b
        Factors of shape (r, columns) and (rows, r).
    scale
        s.
    transposed
        The matrix is stored as (inputs, outputs), as in GPT-2's Conv1D and in tables.
    name
        The matrix that it is added to, as the adapter names it.
    """

    a: Tensor
    b: Tensor
    scale: float
    transposed: bool
    name: str

    def check_fits(self, shape: tuple[int, ...]) -> None:
        """Raise ShapesError where the product would not have this shape."""
        rows, columns = self.b.shape[0], math.prod(self.a.shape[1:])
        product = (columns, rows) if self.transposed else (rows, columns)
        if (shape[0], math.prod(shape[1:])) != product or self.a.shape[0] != math.prod(self.b.shape[1:]):
            raise ShapesError(
                f"the adapter's factors for {self.name!r} give {product}, the base has {shape}",
                advice="give the adapter that was trained on this base",
            )

    def factors(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Left and right factor, float64, of shapes (rows, r) and (r, columns) as the matrix is stored."""
        left, right = self.scale * self.b.values(), self.a.values()
        left, right = (factor.reshape(factor.shape[0], -1) for factor in (left, right))
        return (right.T, left.T) if self.transposed else (left, right)


def read_lora(folder: Path) -> dict[str, LoraUpdate]:
    """The updates of a PEFT LoRA adapter by the name of the matrix that they are added to.

    Parameters
    ----------
    folder
        With adapter_config.json and adapter_model.safetensors (or .bin).

    Returns
    -------
    dict
        By the base's name without PEFT's and other wrappers' prefixes.

    Raises
    ------
    NotFoundError
        No adapter in the folder.
    EmptyError, UnsupportedError, CorruptError
        An adapter without LoRA factors, of another kind, or with a config that gives no scale.
    """
    config = read_json(folder / "adapter_config.json")
    weights = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if config is None or weights is None:
        raise NotFoundError(
            "no PEFT adapter in it",
            advice="give a directory with adapter_config.json and adapter_model.safetensors",
            path=folder,
        )
    if config.get("use_dora"):
        raise UnsupportedError(
            "a DoRA adapter, whose merge is no sum", advice="measure without the adapter", path=folder
        )
    try:
        updates = dict(_updates(open_checkpoint(weights).tensors, config))
    except (TypeError, ValueError) as error:
        raise CorruptError(
            f"adapter_config.json holds no usable scale ({error})",
            advice="check how it was saved",
            path=folder,
        ) from error
    if not updates:
        raise EmptyError("the adapter has no LoRA factors", advice="check how it was saved", path=folder)
    return updates


def _updates(tensors: Mapping[str, Tensor], config: dict[str, Any]) -> Iterator[tuple[str, LoraUpdate]]:
    found: dict[str, dict[str, Tensor]] = {}
    tables = set()
    for name, tensor in tensors.items():
        match = _FACTOR.fullmatch(name) or _EMBEDDING.fullmatch(name)
        if match:
            module = unwrapped(match["module"])
            found.setdefault(module, {})[match["side"]] = tensor
            tables |= {module} if _EMBEDDING.fullmatch(name) else set()
    for module, factors in found.items():
        if factors.keys() == {"A", "B"}:
            # An embedding's table has its rows where a linear layer's weight has its columns.
            transposed = module in tables or bool(config.get("fan_in_fan_out"))
            scale = _scale(module, factors["A"].shape[0], config)
            name = f"{module}.weight"
            yield name, LoraUpdate(factors["A"], factors["B"], scale, transposed, name)


def _scale(module: str, rank: int, config: dict[str, Any]) -> float:
    alpha = _pattern(module, config.get("alpha_pattern"), config.get("lora_alpha", rank))
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else max(rank, 1))


def _pattern(module: str, patterns: Any, default: Any) -> float:
    """A module's own value, where a pattern that ends its name gives one, as in PEFT's get_pattern_key."""
    for pattern, value in (patterns or {}).items() if isinstance(patterns, dict) else ():
        if module == pattern or module.endswith(f".{pattern}"):
            return float(value)
    return float(default)
