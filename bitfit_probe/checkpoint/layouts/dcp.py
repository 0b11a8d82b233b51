"""torch.distributed.checkpoint: ``.metadata`` beside ``*.distcp``, as FSDP, Accelerate and Lightning save."""

from __future__ import annotations

from pathlib import Path

from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.checkpoint.registry import Marks

__all__ = ["MARKS", "METADATA", "matches", "read"]

METADATA = ".metadata"
#: Where Accelerate and the Trainer put FSDP's shards.
_BELOW = ("pytorch_model_fsdp_0", "model_0", "model")
MARKS = Marks(weights=(METADATA, *(f"{name}/{METADATA}" for name in _BELOW)))


def matches(folder: Path) -> bool:
    """Whether it, or a folder of Accelerate's in it, holds the metadata."""
    return MARKS.are_in(folder)


def read(folder: Path, key: str | None = None) -> Checkpoint:
    """Find every tensor's pieces; see `bitfit_probe.checkpoint.torch.distributed`."""
    from bitfit_probe.checkpoint.torch import distributed

    places = (folder / pattern for pattern in MARKS.weights)
    return distributed.read(folder, next(path for path in places if path.is_file()), key)
