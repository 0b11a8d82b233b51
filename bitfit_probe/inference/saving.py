"""A live model as a folder that transformers loads, with other values for some of its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitfit_probe.inference.libraries import quietly
from bitfit_probe.inference.live import LiveModel
from bitfit_probe.inference.weights import Window, in_type, overlaid

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["save_model"]


def save_model(live: LiveModel, folder: Path, tensors: Mapping[str, npt.NDArray[Any]], dtype: str) -> None:
    """Write weights and config.json of a model into a folder; the model itself stays as it is.

    Parameters
    ----------
    tensors
        Values that take the place of parameters of these names.
    dtype
        Element type to write.
    """
    import torch

    laid = []
    for name, values in tensors.items():
        view = live.model.get_parameter(name).detach()
        laid.append(Window(name, view, torch.from_numpy(values).to(view.dtype)))
    with quietly(), overlaid(laid), in_type(live.model, dtype):
        live.model.save_pretrained(folder)
