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
    from bitfit_probe.beforehand import distance, recommend
    from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
    from bitfit_probe.errors import BitfitProbeError
    from bitfit_probe.importance import revert
    from bitfit_probe.probe import check, diff, explain, probe
    from bitfit_probe.records import Check, Comparison, Diff, Explanation, Finding, TensorDelta
    from bitfit_probe.records.recommendation import Recommended
    from bitfit_probe.records.report import Report
    from bitfit_probe.tuning.callback import BitFitProbeCallback
    from bitfit_probe.tuning.options import TuneOptions
    from bitfit_probe.tuning.patch import Patch, apply_patch, extract_patch, open_patch, verify_patch
    from bitfit_probe.tuning.swap import patched
    from bitfit_probe.tuning.tune import Tuned, tune

__all__ = [
    "BitFitProbeCallback",
    "BitfitProbeError",
    "Check",
    "Checkpoint",
    "Comparison",
    "Diff",
    "Explanation",
    "Finding",
    "Patch",
    "Recommended",
    "Report",
    "TensorDelta",
    "TuneOptions",
    "Tuned",
    "__version__",
    "apply_patch",
    "check",
    "diff",
    "distance",
    "explain",
    "extract_patch",
    "open_checkpoint",
    "open_patch",
    "patched",
    "probe",
    "recommend",
    "revert",
    "tune",
    "verify_patch",
]

_HOMES = {
    "BitFitProbeCallback": "tuning.callback",
    "BitfitProbeError": "errors",
    "Check": "records",
    "Checkpoint": "checkpoint",
    "Comparison": "records",
    "Diff": "records",
    "Explanation": "records",
    "Finding": "records",
    "Patch": "tuning.patch",
    "Recommended": "records.recommendation",
    "Report": "records.report",
    "TensorDelta": "records",
    "TuneOptions": "tuning.options",
    "Tuned": "tuning.tune",
    "apply_patch": "tuning.patch",
    "check": "probe",
    "diff": "probe",
    "distance": "beforehand",
    "explain": "probe",
    "extract_patch": "tuning.patch",
    "open_checkpoint": "checkpoint",
    "open_patch": "tuning.patch",
    "patched": "tuning.swap",
    "probe": "probe",
    "recommend": "beforehand",
    "revert": "importance",
    "tune": "tuning.tune",
    "verify_patch": "tuning.patch",
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
