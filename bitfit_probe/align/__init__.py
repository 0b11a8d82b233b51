"""Which tensor of the base is which of the tuned checkpoint: by name, shape and layout, never by value."""

from bitfit_probe.align.checkpoints import align
from bitfit_probe.align.matching import TensorPair
from bitfit_probe.align.names import unwrapped
from bitfit_probe.align.sides import Alignment

__all__ = ["Alignment", "TensorPair", "align", "unwrapped"]
