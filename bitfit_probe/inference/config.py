"""A config.json as the object that transformers builds a model from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitfit_probe.architectures import recognise
from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.checkpoint.interface import read_json
from bitfit_probe.errors import ModelError
from bitfit_probe.inference.libraries import last_line
from bitfit_probe.inference.limits import check_counts
from bitfit_probe.inference.settings import LABELS, class_of, plain_settings

__all__ = ["build_config", "open_config"]


def open_config(folder: Path) -> dict[str, Any]:
    """The config.json in `folder`; empty where there is none."""
    return read_json(folder / "config.json") or {}


def build_config(checkpoint: Checkpoint, folder: str | Path | None, overrides: Mapping[str, Any]) -> Any:
    """The config object of a checkpoint.

    Parameters
    ----------
    folder
        Whose config.json to take instead of the checkpoint's own.
    overrides
        Settings of ours, which come last.

    Raises
    ------
    ModelError
        There is no config, transformers does not know it, it names what is not built from a file, or
        asks for more than the checkpoint holds.
    """
    home = Path(folder) if folder is not None else checkpoint.folder
    settings = dict(checkpoint.config) if folder is None else dict(open_config(home))
    if not settings:
        raise ModelError("there is no config.json", advice="give the model directory", path=home)
    kind = settings.get("model_type") or recognise(list(checkpoint.tensors), settings).family
    cls = class_of(kind, home)
    settings.pop("model_type", None)
    # Labels of the head are set together, or transformers keeps two names for six classes.
    if "num_labels" in overrides:
        settings = {key: value for key, value in settings.items() if key not in ("num_labels", *LABELS)}
    settings = plain_settings(settings, cls, home)
    check_counts(settings, checkpoint, home)
    try:
        return cls(**(settings | dict(overrides)))
    except Exception as error:  # each model's config has checks, and errors, of its own
        raise ModelError(
            f"config.json is none of a {kind} ({last_line(error)})",
            advice="take the config.json that belongs to these weights",
            path=home,
        ) from error
