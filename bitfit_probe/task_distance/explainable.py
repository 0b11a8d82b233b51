"""How much of what the change of a weight does a bias could have done as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bitfit_probe.align import Alignment
from bitfit_probe.data import TaskData
from bitfit_probe.inference import LiveModel, running

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

__all__ = ["explained_after", "explained_by", "layer_inputs"]


def explained_after(change: npt.NDArray[np.float64], inputs: npt.NDArray[np.float64]) -> float:
    """Share of what a weight's change does to its outputs that is a constant shift, after training.

    ‖ΔW x̄‖² / E‖ΔW x‖², in [0, 1].

    Parameters
    ----------
    change
        ΔW, shape (out, in).
    inputs
        x, shape (tokens, in).
    """
    moved = inputs @ change.T
    size = float(np.mean(np.sum(moved**2, axis=1)))
    mean = moved.mean(0)
    return float(mean @ mean) / size if size else 0.0


def layer_inputs(live: LiveModel, data: TaskData, most: int = 4096) -> dict[str, npt.NDArray[np.float64]]:
    """Inputs of every linear layer on the data, at most `most` tokens each, by the module's name."""
    import torch
    from transformers.pytorch_utils import Conv1D

    seen: dict[str, list[torch.Tensor]] = {}

    def keep(name: str) -> Any:
        def hook(module: Any, args: tuple[Any, ...]) -> None:
            seen.setdefault(name, []).append(args[0].reshape(-1, args[0].shape[-1])[chosen])

        return hook

    handles = [
        module.register_forward_pre_hook(keep(name))
        for name, module in live.body.named_modules()
        if isinstance(module, (torch.nn.Linear, Conv1D)) and "pooler" not in name
    ]
    try:
        with torch.inference_mode(), running(live.model):
            for batch in live.batches(data):
                chosen = batch.mask.reshape(-1).bool()
                live.body(**batch.inputs)
    finally:
        for handle in handles:
            handle.remove()
    return {name: torch.cat(parts)[:most].double().numpy() for name, parts in seen.items()}


def explained_by(
    alignment: Alignment, inputs: Mapping[str, npt.NDArray[np.float64]]
) -> dict[tuple[str, int | None], float]:
    """The explained share of each matrix that moved, by (role, layer), averaged over parts of one place.

    Parameters
    ----------
    alignment
        Base and tuned checkpoint, side by side.
    inputs
        By the module's name in the bare model, from :func:`layer_inputs`.
    """
    found: dict[tuple[str, int | None], list[float]] = {}
    for pair in alignment.pairs:
        name = alignment.architecture.canonical(pair.base.name).removesuffix(".weight")
        if pair.info.kind != "weight" or len(pair.base.shape) != 2 or name not in inputs:
            continue
        change = (pair.tuned.values() - pair.base.values()).reshape(pair.base.shape)
        if not change.any():
            continue
        if change.shape[1] != inputs[name].shape[1]:  # GPT-2 keeps its matrices (in, out)
            change = change.T
        info = (pair.info.role or "other", pair.info.layer)
        found.setdefault(info, []).append(explained_after(change, inputs[name]))
    return {info: float(np.mean(shares)) for info, shares in found.items()}
