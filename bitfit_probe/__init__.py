"""What did fine-tuning change, did it train as intended, and was BitFit the right tool.

The names below are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bitfit_probe.version import __version__

if TYPE_CHECKING:
    from bitfit_probe.beforehand import distance
    from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
    from bitfit_probe.errors import BitfitProbeError
    from bitfit_probe.importance import revert
    from bitfit_probe.probe import check, diff, explain, probe
    from bitfit_probe.records import Check, Comparison, Diff, Explanation, Finding, TensorDelta
    from bitfit_probe.records.report import Report

__all__ = [
    "BitfitProbeError",
    "Check",
    "Checkpoint",
    "Comparison",
    "Diff",
    "Explanation",
    "Finding",
    "Report",
    "TensorDelta",
    "__version__",
    "check",
    "diff",
    "distance",
    "explain",
    "open_checkpoint",
    "probe",
    "revert",
]

_HOMES = {
    "BitfitProbeError": "errors",
    "Check": "records",
    "Checkpoint": "checkpoint",
    "Comparison": "records",
    "Diff": "records",
    "Explanation": "records",
    "Finding": "records",
    "Report": "records.report",
    "TensorDelta": "records",
    "check": "probe",
    "diff": "probe",
    "distance": "beforehand",
    "explain": "probe",
    "open_checkpoint": "checkpoint",
    "probe": "probe",
    "revert": "importance",
}


class _Package(ModuleType):
    """Keeps `diff` and `probe` functions: loading the rooms of those names would replace them."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
