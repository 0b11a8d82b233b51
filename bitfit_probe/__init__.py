"""What did fine-tuning change, did it train as intended, and was BitFit the right tool.

The names below are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
    from bitfit_probe.errors import BitfitProbeError
    from bitfit_probe.probe import diff
    from bitfit_probe.records import Comparison, Diff, TensorDelta
    from bitfit_probe.tuning.callback import BitFitProbeCallback
    from bitfit_probe.tuning.patch import Patch, apply_patch, extract_patch, open_patch, verify_patch
    from bitfit_probe.tuning.swap import patched
    from bitfit_probe.tuning.tune import Tuned, tune

__all__ = [
    "BitFitProbeCallback",
    "BitfitProbeError",
    "Checkpoint",
    "Comparison",
    "Diff",
    "Patch",
    "TensorDelta",
    "Tuned",
    "__version__",
    "apply_patch",
    "diff",
    "extract_patch",
    "open_checkpoint",
    "open_patch",
    "patched",
    "tune",
    "verify_patch",
]

__version__ = "0.1.0"

_HOMES = {
    "BitFitProbeCallback": "tuning.callback",
    "BitfitProbeError": "errors",
    "Checkpoint": "checkpoint",
    "Comparison": "records",
    "Diff": "records",
    "Patch": "tuning.patch",
    "TensorDelta": "records",
    "Tuned": "tuning.tune",
    "apply_patch": "tuning.patch",
    "diff": "probe",
    "extract_patch": "tuning.patch",
    "open_checkpoint": "checkpoint",
    "open_patch": "tuning.patch",
    "patched": "tuning.swap",
    "tune": "tuning.tune",
    "verify_patch": "tuning.patch",
}


class _Package(ModuleType):
    """Keeps `diff` the function: loading the room of that name would put the module in its place."""

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
