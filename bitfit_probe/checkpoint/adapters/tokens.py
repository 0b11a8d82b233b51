"""Rows of an embedding that were trained alone and replace the base's (``trainable_token_indices``).

Names and rule: ``peft/tuners/trainable_tokens/layer.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bitfit_probe.checkpoint.adapters.interface import Changes, not_read
from bitfit_probe.checkpoint.adapters.patterns import named_by_end
from bitfit_probe.checkpoint.interface import Change
from bitfit_probe.checkpoint.storage.computed import Float64, computed, rows_of
from bitfit_probe.checkpoint.storage.tensor import Tensor
from bitfit_probe.frozen import Frozen

__all__ = ["PEFT_TYPE", "NewRows", "changes", "label", "matches", "new_rows"]

PEFT_TYPE = "TRAINABLE_TOKENS"
_ROWS = re.compile(r"(?P<module>.+?)(?:\.token_adapter)?\.trainable_tokens_delta(?:\.[^.]+)?")


class NewRows(Frozen, eq=False):
    """An embedding of which some rows are replaced."""

    name: str
    rows: Tensor
    indices: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The least number of rows, and their length."""
        return (max(self.indices, default=-1) + 1, *self.rows.shape[1:])

    @property
    def vectors(self) -> Mapping[str, Tensor]:
        """The rows, comparable with rows of the same numbers."""
        return {f"{self.name}{list(self.indices)}": replace(self.rows, name=self.name)}

    def tuned(self, base: Tensor, *, in_out: bool) -> Tensor:
        """What `base` becomes; see `Change`."""
        if base.shape[1:] != self.rows.shape[1:] or base.shape[0] < self.shape[0]:
            raise ValueError(f"{self.name}: rows for {self.shape}, the base has {base.shape}")
        new = self.rows.values()

        def rows(start: int, stop: int) -> Float64:
            out = rows_of(base, start, stop)
            for at, index in enumerate(self.indices):
                if start <= index < stop:
                    out[index - start] = new[at]
            return out

        return computed(self.name, base.shape, rows)


def matches(name: str) -> bool:
    """Whether the name is that of trained rows."""
    return _ROWS.fullmatch(name) is not None


def label(config: Mapping[str, Any]) -> str:
    """Trained token rows alone, without another method beside them."""
    return "trainable tokens"


def changes(tensors: Mapping[str, Tensor], config: Mapping[str, Any], path: Path) -> Changes:
    """The embeddings of which rows are replaced, where that is the method."""
    return Changes(new_rows(tensors, config, path))


def new_rows(tensors: Mapping[str, Tensor], config: Mapping[str, Any], path: Path) -> dict[str, Change]:
    """The embeddings of which rows are replaced, whatever the method beside them."""
    out: dict[str, Change] = {}
    for name, tensor in tensors.items():
        match = _ROWS.fullmatch(name)
        if match is None:
            continue
        indices = _indices(match["module"], config)
        if len(tensor.shape) != 2 or len(indices) != tensor.shape[0]:
            raise not_read("trained token rows whose numbers its configuration does not tell", path)
        weight = f"{match['module']}.weight"
        out[weight] = NewRows(weight, tensor, indices)
    return out


def _indices(module: str, config: Mapping[str, Any]) -> tuple[int, ...]:
    """The row numbers of `module`; the whole list where the configuration names no module."""
    given = config.get("token_indices" if config.get("peft_type") == PEFT_TYPE else "trainable_token_indices")
    if isinstance(given, Mapping):
        given = named_by_end(given, module)
    if not isinstance(given, list) or not all(type(item) is int and item >= 0 for item in given):
        return ()
    return tuple(given)
