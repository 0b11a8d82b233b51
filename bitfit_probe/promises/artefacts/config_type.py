"""config.json: the element type in which the weights are loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.checkpoint.storage.dtypes import BY_NAME
from bitfit_probe.promises.case import Case
from bitfit_probe.records.promises import Promise

__all__ = ["promises"]

_FLOATS = ("float32", "float64", "float16", "bfloat16")


def promises(case: Case) -> Iterator[Promise]:
    """The type that config.json names is the one in which the weights are stored."""
    stated, stored = _stated(case.tuned), _stored(case.tuned)
    if stated is None or stored is None or not case.is_model:
        return
    source, expected = "config.json: dtype", f"weights in {stated}"
    roundoff = [BY_NAME[name].roundoff or 0.0 for name in (stated, stored)]
    if stated == stored or roundoff[0] <= roundoff[1]:
        yield Promise("type", source, expected, stored, "kept")
        return
    said_by_base = case.base is not None and _stated(case.base) != stated
    yield Promise(
        "type",
        source,
        expected,
        stored,
        "broken",
        loader=f"transformers 5 rounds the weights to {stated} on loading unless dtype is given",
        first="the type in which the model was evaluated, and what wrote config.json",
        severity="warning" if said_by_base else "info",
        subjects=("config.json: dtype",),
    )


def _stated(checkpoint: Checkpoint) -> str | None:
    config = checkpoint.config
    stated = config.get("dtype") or config.get("torch_dtype")
    name = stated.removeprefix("torch.") if isinstance(stated, str) else ""
    return name if name in _FLOATS else None


def _stored(checkpoint: Checkpoint) -> str | None:
    """The type of most elements; None where that is no plain float."""
    sizes: Counter[str] = Counter()
    for tensor in checkpoint.tensors.values():
        sizes[tensor.dtype.name] += tensor.size
    name = sizes.most_common(1)[0][0] if sizes else ""
    return name if name in _FLOATS else None
