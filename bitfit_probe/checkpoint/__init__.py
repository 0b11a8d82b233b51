"""Checkpoints: names, shapes and types of tensors in files, and their values a block at a time."""

from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.checkpoint.opening import open_checkpoint
from bitfit_probe.checkpoint.storage.tensor import Tensor

__all__ = ["Checkpoint", "Tensor", "open_checkpoint"]
