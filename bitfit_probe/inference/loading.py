"""A model from its files: built by transformers from settings that were looked through, filled by us."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bitfit_probe.checkpoint import Checkpoint, Tensor, open_checkpoint
from bitfit_probe.errors import ModelError
from bitfit_probe.inference.config import build_config
from bitfit_probe.inference.libraries import first_line, quietly, torch_library, transformers_library
from bitfit_probe.inference.limits import within
from bitfit_probe.inference.purpose import Purpose

if TYPE_CHECKING:
    import torch

__all__ = ["Loaded", "filled", "load_model", "to_torch"]

_AUTO = {
    "classify": "AutoModelForSequenceClassification",
    "features": "AutoModel",
    "masked-lm": "AutoModelForMaskedLM",
    "causal-lm": "AutoModelForCausalLM",
}


@dataclass(frozen=True)
class Loaded:
    """A model in evaluation mode, and which of its parameters the checkpoint did not hold.

    Attributes
    ----------
    model
        The ``PreTrainedModel``, in float32 unless asked otherwise.
    missing
        Names of parameters that stayed as they were initialised (a new head, say).
    unexpected
        Names in the checkpoint that the model has no place for.
    reshaped
        Those among `missing` that the checkpoint holds in another shape.
    """

    model: Any
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...] = ()


def to_torch(tensor: Tensor) -> torch.Tensor:
    """The values of a checkpoint's tensor as a torch tensor of its own dtype.

    Raises
    ------
    ModelError
        torch has no such element type.
    """
    torch = torch_library()
    dtype = getattr(torch, tensor.dtype.name, None)
    if dtype is None:
        raise ModelError(
            f"{tensor.name} is {tensor.dtype.name}", advice="convert the checkpoint to float32 first"
        )
    if not tensor.size:
        return torch.empty(tensor.shape, dtype=dtype)
    raw = np.empty(tensor.size, tensor.dtype.storage)
    tensor.read(0, tensor.size, raw)
    return torch.from_numpy(raw.view(np.uint8)).view(dtype).reshape(tensor.shape)


def load_model(
    weights: str | Path | Checkpoint,
    *,
    config: str | Path | None = None,
    purpose: Purpose = "classify",
    dtype: str = "float32",
    new_head: bool = False,
    **overrides: Any,
) -> Loaded:
    """Build a model from a checkpoint without downloading or unpickling anything.

    Parameters
    ----------
    weights
        A model directory, a weight file with a config.json beside it, or an open checkpoint.
    config
        Directory whose config.json to use where `weights` has none beside it.
    purpose
        What for.
    dtype
        Element type of the parameters.
    new_head
        Initialise what has another shape in the checkpoint (a head for other classes) instead of refusing it.
    **overrides
        Entries of the config to set, such as ``num_labels=6``.

    Raises
    ------
    MissingExtraError
        torch or transformers is not installed.
    ModelError
        There is no config, transformers does not know it, or the weights don't fit it.
    """
    transformers, torch = transformers_library(), torch_library()
    checkpoint = weights if isinstance(weights, Checkpoint) else open_checkpoint(weights)
    with quietly():
        settings = build_config(checkpoint, config, overrides)
        cls = _class(getattr(transformers, _AUTO[purpose]), settings, checkpoint)
    state = {name: to_torch(tensor) for name, tensor in checkpoint.tensors.items()}
    with quietly(), within(checkpoint, settings.to_dict()):
        model, info = filled(
            cls, settings, state, checkpoint, dtype=getattr(torch, dtype), ignore_mismatched_sizes=new_head
        )
    reshaped = {key if isinstance(key, str) else key[0] for key in info["mismatched_keys"]}
    missing = {*info["missing_keys"], *reshaped}
    return Loaded(
        model.eval(),
        tuple(sorted(missing)),
        tuple(sorted(info["unexpected_keys"])),
        tuple(sorted(reshaped)),
    )


def filled(
    cls: Any, settings: Any, state: dict[str, Any], checkpoint: Checkpoint, **how: Any
) -> tuple[Any, dict[str, Any]]:
    """A class of transformers with the values of `state`, and what became of each name.

    Parameters
    ----------
    settings, state
        The config, and tensors by name.
    checkpoint
        Where they are from, for what is said where it fails.
    **how
        Passed on to ``from_pretrained``.

    Raises
    ------
    ModelError
        The class can't be built, or the values don't fit it.
    """
    try:
        model, info = cls.from_pretrained(
            None, config=settings, state_dict=state, output_loading_info=True, **how
        )
    except ModelError:
        raise
    except Exception as error:  # whatever a model's code does with settings that don't fit it
        raise ModelError(
            f"does not load as {cls.__name__} ({first_line(error)})",
            advice="check that config.json belongs to these weights",
            path=checkpoint.path,
        ) from error
    return model, info


def _class(auto: Any, settings: Any, checkpoint: Checkpoint) -> Any:
    """The model class behind an automatic class: the automatic one wants a path."""
    try:
        cls = auto._model_mapping[type(settings)]
    except Exception as error:  # a module of transformers that needs another library
        raise ModelError(
            f"does not load as {auto.__name__} ({first_line(error)})",
            advice="check that config.json belongs to these weights",
            path=checkpoint.path,
        ) from error
    return cls[0] if isinstance(cls, tuple) else cls
