"""Megatron-LM's checkpoints: read where the model is in one piece, refused where it is split.

Layout: ``iter_0000100/mp_rank_00/model_optim_rng.pt`` and ``latest_checkpointed_iteration.txt``.
"""

from __future__ import annotations

from pathlib import Path

from bitfit_probe.checkpoint.formats import torch_zip
from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.checkpoint.registry import Marks
from bitfit_probe.checkpoint.storage.tensor import File
from bitfit_probe.errors import UnsupportedError

__all__ = ["MARKS", "matches", "read"]

_STATES = "mp_rank_*/model_optim_rng.pt"
_STEPS = "iter_*"
MARKS = Marks(weights=(_STATES, f"{_STEPS}/{_STATES}"))


def matches(folder: Path) -> bool:
    """Whether it, or its last iteration, holds the model's part for a rank."""
    return MARKS.are_in(folder)


def _parts(folder: Path) -> list[Path]:
    steps = (folder, *sorted(folder.glob(_STEPS), reverse=True))
    return next((parts for step in steps if (parts := sorted(step.glob(_STATES)))), [])


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
