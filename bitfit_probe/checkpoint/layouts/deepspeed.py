"""DeepSpeed's checkpoints: a folder a step with the states of every rank, and ``latest`` with its name."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.checkpoint.registry import Marks
from bitfit_probe.checkpoint.sharded import inside

__all__ = ["MARKS", "matches", "read"]

_OPTIMIZER, _MODEL = "*_optim_states.pt", "*_model_states.pt"
#: Names of optimizer states begin with the rank.
MARKS = Marks(weights=(_MODEL,), beside=("optim_states.pt",))
_MOST_TAG_BYTES = 4096


def matches(folder: Path) -> bool:
    """Whether it, or the step that its file ``latest`` names, holds DeepSpeed's model states."""
    return _step(folder) is not None


def _step(folder: Path) -> Path | None:
    if MARKS.are_in(folder):
        return folder
    latest = folder / "latest"
    if not latest.is_file() or latest.stat().st_size > _MOST_TAG_BYTES:
        return None
    tag = latest.read_text(encoding="utf-8", errors="replace").strip()
    step = inside(folder, tag) if tag else folder
    return step if MARKS.are_in(step) else None


def read(folder: Path, key: str | None = None) -> Checkpoint:
    """Put the float32 weights together; see `bitfit_probe.checkpoint.torch.zero`."""
    from bitfit_probe.checkpoint.torch import zero

    step = _step(folder)
    assert step is not None
    return replace(zero.read(step, _in_order(step, _MODEL), _in_order(step, _OPTIMIZER)), path=folder)


def _in_order(step: Path, pattern: str) -> list[Path]:
    """By the numbers in their names, as ranks count."""
    return sorted(step.glob(pattern), key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)])
