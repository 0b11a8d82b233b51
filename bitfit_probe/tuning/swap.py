"""Patches swapped in and out of a live model, without reloading it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bitfit_probe.align import unwrapped
from bitfit_probe.errors import PatchError, WrongBaseError
from bitfit_probe.inference import to_torch
from bitfit_probe.tuning.patch import Patch, open_patch

__all__ = ["patched"]

#: What a head's labels are called in the model's config.
_LABELS = ("id2label", "label2id", "problem_type")


@contextlib.contextmanager
def patched(model: Any, patch: str | Path | Patch) -> Iterator[Any]:
    """Make `model` the tuned model for a while.

    The patch's tensors take the place of the model's parameters; afterwards the very same parameters are put
    back, so that the model is exactly what it was. Nothing is reloaded, and a head may have other classes.

    Parameters
    ----------
    model
        The base, live, with the kind of head that the patch has (``load_model(base)``, or
        ``AutoModelForSequenceClassification.from_pretrained(base)``).
    patch
        A patch or its file. Open it once by `open_patch` where it is used often.

    Yields
    ------
    The model.

    Raises
    ------
    PatchError
        The model has no parameter of a name in the patch.
    WrongBaseError
        A parameter that would be replaced does not have the base's values: another base, or a second patch.

    Examples
    --------
    >>> with patched(model, "trec.safetensors"):  # doctest: +SKIP
    ...     answer = model(**tokens).logits
    """
    opened = patch if isinstance(patch, Patch) else open_patch(patch)
    spots = _spots(model, opened)
    _check_base(spots, opened)
    config = {name: getattr(model.config, name) for name in _LABELS if hasattr(model.config, name)}
    before = [(module, leaf, module._parameters[leaf]) for found in spots.values() for module, leaf in found]
    sizes = [
        (m, m.out_features) for m in {id(m): m for m, _, _ in before}.values() if hasattr(m, "out_features")
    ]
    try:
        _put(spots, opened)
        for name in _LABELS:
            if name in opened.manifest.config and name in config:
                setattr(model.config, name, _as_config(name, opened.manifest.config[name]))
        yield model
    finally:
        for module, leaf, parameter in before:
            module._parameters[leaf] = parameter
        for module, size in sizes:
            module.out_features = size
        for name, value in config.items():
            setattr(model.config, name, value)


def _spots(model: Any, patch: Patch) -> dict[str, list[tuple[Any, str]]]:
    """Every place where a parameter of the patch stands in the model; tied ones stand in several."""
    everywhere: dict[int, list[tuple[Any, str]]] = {}
    for module in model.modules():
        for leaf, parameter in module._parameters.items():
            if parameter is not None:
                everywhere.setdefault(id(parameter), []).append((module, leaf))
    named = {unwrapped(name): parameter for name, parameter in model.named_parameters(remove_duplicate=False)}
    absent = [name for name in patch.tensors if unwrapped(name) not in named]
    if absent:
        raise PatchError(
            f"the model has no parameter {absent[0]!r} ({len(absent)} of {len(patch.tensors)} are absent)",
            advice="load the base with the kind of head that the tuned model has",
            path=patch.path,
        )
    return {name: everywhere[id(named[unwrapped(name)])] for name in patch.tensors}


def _check_base(spots: dict[str, list[tuple[Any, str]]], patch: Patch) -> None:
    """Raise unless what is replaced has the base's values (where it has the base's element type)."""
    for name, found in spots.items():
        source = patch.manifest.replaced[name]
        if source is None:
            continue
        module, leaf = found[0]
        entry, parameter = patch.manifest.base[source], module._parameters[leaf]
        same_type = str(parameter.dtype) == f"torch.{entry.dtype}"
        if same_type and _sha256(parameter) != entry.sha256:
            raise WrongBaseError(
                f"{name!r} of the model does not have the values of the patch's base",
                advice="load that base, and leave one patch before entering the next",
                path=patch.path,
            )


def _sha256(parameter: Any) -> str:
    import torch

    raw = parameter.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(raw.numpy().tobytes()).hexdigest()


def _put(spots: dict[str, list[tuple[Any, str]]], patch: Patch) -> None:
    import torch

    for name, found in spots.items():
        module, leaf = found[0]
        old = module._parameters[leaf]
        value = to_torch(patch.tensors[name]).to(device=old.device, dtype=old.dtype)
        new = torch.nn.Parameter(value, requires_grad=old.requires_grad)
        for module, leaf in found:
            module._parameters[leaf] = new
            if leaf == "weight" and hasattr(module, "out_features"):
                module.out_features = value.shape[0]


def _as_config(name: str, value: Any) -> Any:
    """JSON has strings for the keys of id2label; the config has numbers."""
    if name != "id2label" or not isinstance(value, dict):
        return value
    return {int(key) if key.isdecimal() else key: label for key, label in value.items()}
