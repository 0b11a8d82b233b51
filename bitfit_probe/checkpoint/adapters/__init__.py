"""PEFT adapters: what they change in a base, computed from what they store, without the base's model.

One module a method; `bitfit_probe.checkpoint.adapters.reading` finds them by listing this package.
"""

from bitfit_probe.checkpoint.adapters.experts import ExpertsLowRank
from bitfit_probe.checkpoint.adapters.lora import low_rank
from bitfit_probe.checkpoint.adapters.loralib import left_beside
from bitfit_probe.checkpoint.adapters.low_rank import LowRank, factors
from bitfit_probe.checkpoint.adapters.overlay import lay_over
from bitfit_probe.checkpoint.adapters.reading import as_adapter, is_adapter
from bitfit_probe.checkpoint.adapters.tokens import NewRows
from bitfit_probe.checkpoint.interface import Adapter, Change

__all__ = [
    "Adapter",
    "Change",
    "ExpertsLowRank",
    "LowRank",
    "NewRows",
    "as_adapter",
    "factors",
    "is_adapter",
    "lay_over",
    "left_beside",
    "low_rank",
]
