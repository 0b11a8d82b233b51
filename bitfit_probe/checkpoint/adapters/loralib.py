"""LoRA as Microsoft's loralib names it: ``lora_A`` and ``lora_B`` in the layers, without a configuration.

Names and rules: ``loralib/layers.py``. A fused layer (``MergedLinear``) has the factors of its g trained
parts below each other, A of shape (r·g, in) and B of (out·g, r); two are taken for the first and the last of
three, q and v, as in loralib's own GPT-2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bitfit_probe.checkpoint.adapters.interface import Changes
from bitfit_probe.checkpoint.adapters.low_rank import LowRank
from bitfit_probe.checkpoint.interface import Change
from bitfit_probe.checkpoint.storage.computed import Float64, computed
from bitfit_probe.checkpoint.storage.tensor import Tensor
from bitfit_probe.errors import UnsupportedError

__all__ = ["PEFT_TYPE", "are_factors_alone", "changes", "label", "left_beside", "matches"]

#: No type of peft's: told by the names.
PEFT_TYPE = "LORALIB"
_FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<factor>[AB])")
#: Parts of a fused layer.
_PARTS = 3


def matches(name: str) -> bool:
    """Whether the name is that of a factor."""
    return _FACTOR.fullmatch(name) is not None


def are_factors_alone(names: Iterable[str]) -> bool:
    """Whether a file holds factors, and of the model no more than biases: what ``lora_state_dict`` gives."""
    rest = [name for name in names if not matches(name)]
    return any(map(matches, names)) and all(name.endswith("bias") for name in rest)


def left_beside(names: Iterable[str]) -> tuple[str, ...]:
    """What to know of a whole state dict with factors in it."""
    modules = {match["module"] for name in names if (match := _FACTOR.fullmatch(name))}
    if not modules:
        return ()
    return (
        f"holds loralib's factors of {len(modules)} modules (lora_A, lora_B) beside the weights, which are"
        " read as they stand: with the factors merged if the model was saved in evaluation mode",
    )


def label(config: Mapping[str, Any]) -> str:
    """LoRA."""
    return "LoRA (loralib)"


def changes(tensors: Mapping[str, Tensor], config: Mapping[str, Any], path: Path) -> Changes:
    """The matrices that the factors change.

    Raises
    ------
    UnsupportedError
        No adapter_config.json that tells alpha: loralib stores none.
    """
    alpha = config.get("lora_alpha")
    if not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
        raise UnsupportedError(
            "factors in loralib's names, which come without the scale",
            advice='put adapter_config.json beside it with {"lora_alpha": ALPHA}, as it was trained',
            path=path,
        )
    modules: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = _FACTOR.fullmatch(name)
        assert match is not None
        modules.setdefault(match["module"], {})[match["factor"]] = tensor
    altered: dict[str, Change] = {}
    incomplete = []
    for module, parts in modules.items():
        change = _low_rank(f"{module}.weight", parts.get("A"), parts.get("B"), float(alpha))
        if change is None:
            incomplete.append(module)
        else:
            altered[change.name] = change
    return Changes(altered, incomplete=tuple(incomplete))


def _low_rank(name: str, a: Tensor | None, b: Tensor | None, alpha: float) -> LowRank | None:
    if a is None or b is None or len(a.shape) != 2 or len(b.shape) != 2 or not (a.size and b.size):
        return None
    parts, rest = divmod(a.shape[0], b.shape[1])
    if rest or parts > _PARTS or b.shape[0] % parts:
        return None
    return LowRank(name, a, b if parts == 1 else _apart(b, parts), alpha / b.shape[1])


def _apart(b: Tensor, parts: int) -> Tensor:
    """B of a fused layer as one matrix, shape (3·out, r·g), zero where a part is not trained."""
    out, rank = b.shape[0] // parts, b.shape[1]
    places = {0: 0, _PARTS - 1: parts - 1} if parts == _PARTS - 1 else {at: at for at in range(parts)}

    def rows(start: int, stop: int) -> Float64:
        values = b.values()
        whole = np.zeros((_PARTS * out, parts * rank))
        for place, part in places.items():
            block = values[part * out : (part + 1) * out]
            whole[place * out : (place + 1) * out, part * rank : (part + 1) * rank] = block
        return whole[start:stop]

    return computed(b.name, (_PARTS * out, parts * rank), rows)
