"""Megatron-LM's checkpoints: read where the model is in one piece, refused where it is split.

Layout: ``iter_0000100/mp_rank_00/model_optim_rng.pt`` and ``latest_checkpointed_iteration.txt``.
"""

from __future__ import annotations

from pathlib import Path

from bitfit_probe.checkpoint.formats import torch_zip
from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.checkpoint.storage.tensor import File
from bitfit_probe.errors import UnsupportedError

__all__ = ["read", "recognises"]

_STATES = "model_optim_rng.pt"


def recognises(folder: Path) -> bool:
    """Whether it, or its last iteration, holds the model's part for a rank."""
    return bool(_parts(folder))


def _parts(folder: Path) -> list[Path]:
    steps = (folder, *sorted(folder.glob("iter_*"), reverse=True))
    return next((parts for step in steps if (parts := sorted(step.glob(f"mp_rank_*/{_STATES}")))), [])


def read(folder: Path, key: str | None = None) -> Checkpoint:
    """Read the only part.

    Raises
    ------
    UnsupportedError
        There are several: which rows or columns each holds depends on the layer.
    """
    parts = _parts(folder)
    if len(parts) > 1:
        raise UnsupportedError(
            f"a Megatron model in {len(parts)} parts (tensor or pipeline parallel)",
            advice="convert it to parallel sizes of 1 with Megatron-LM's tools/checkpoint/convert.py",
            path=folder,
        )
    return torch_zip.read(File(parts[0]), key)
