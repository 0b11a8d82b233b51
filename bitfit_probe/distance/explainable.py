"""How much of what a weight would do, or did, a bias could do as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bitfit_probe.data import TaskData
from bitfit_probe.distance.encoder import Encoder

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

__all__ = ["explainable_after", "explainable_before", "layer_inputs"]


def explainable_before(inputs: npt.NDArray[np.float64], gradients: npt.NDArray[np.float64]) -> float:
    """Share of a weight's gradient that a constant shift takes, before training.

    ‖Σ_t g_t‖² · ‖x̄‖² / ‖∇_W‖_F² with ∇_W = Σ_t g_t x_tᵀ: 1 where all inputs are the same.

    Parameters
    ----------
    inputs, gradients
        x and g, shapes (tokens, in) and (tokens, out).
    """
    total = gradients.T @ inputs
    size = float(np.sum(total**2))
    mean = inputs.mean(0)
    return float(np.sum(gradients.sum(0) ** 2) * (mean @ mean)) / size if size else 0.0


def explainable_after(change: npt.NDArray[np.float64], inputs: npt.NDArray[np.float64]) -> float:
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


def layer_inputs(encoder: Encoder, data: TaskData, most: int = 4096) -> dict[str, npt.NDArray[np.float64]]:
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
        for name, module in encoder.model.named_modules()
        if isinstance(module, (torch.nn.Linear, Conv1D)) and "pooler" not in name
    ]
    try:
        with torch.inference_mode():
            for batch in encoder.batches(data):
                chosen = batch.inputs["attention_mask"].reshape(-1).bool()
                encoder.model(**batch.inputs)
    finally:
        for handle in handles:
            handle.remove()
    return {name: torch.cat(parts)[:most].double().numpy() for name, parts in seen.items()}
