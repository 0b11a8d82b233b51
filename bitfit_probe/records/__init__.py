"""The records that the rooms hand to each other: frozen, without behaviour that needs numpy.

`diff` holds what was compared, `measures` what was measured on it, `evidence` single checkable numbers,
`findings` what `check` says, and `report` the bundle that renderers receive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitfit_probe.lazy import loader
from bitfit_probe.records.coverage import Coverage, Reason, Uncovered
from bitfit_probe.records.diff import (
    AdapterFacts,
    CheckpointInfo,
    Comparison,
    Diff,
    JudgedBy,
    Retyped,
    RoleDelta,
    Summary,
    TensorDelta,
    Unmatched,
    Verdict,
)
from bitfit_probe.records.model_parts import ModelPart
from bitfit_probe.records.severity import Severity
from bitfit_probe.records.tensors import Kind, Part, TensorInfo
from bitfit_probe.records.updates import Update, UpdateDelta

if TYPE_CHECKING:
    from bitfit_probe.records.evidence import Evidence
    from bitfit_probe.records.failures import Failure
    from bitfit_probe.records.findings import Check, Explanation, Finding, NotChecked, Scope
    from bitfit_probe.records.promises import Promise, Promises

__all__ = [
    "AdapterFacts",
    "Check",
    "CheckpointInfo",
    "Comparison",
    "Coverage",
    "Diff",
    "Evidence",
    "Explanation",
    "Failure",
    "Finding",
    "JudgedBy",
    "Kind",
    "ModelPart",
    "NotChecked",
    "Part",
    "Promise",
    "Promises",
    "Reason",
    "Retyped",
    "RoleDelta",
    "Scope",
    "Severity",
    "Summary",
    "TensorDelta",
    "TensorInfo",
    "Uncovered",
    "Unmatched",
    "Update",
    "UpdateDelta",
    "Verdict",
]

#: What `diff` does without is loaded when it is first used.
_HOMES = {
    "Evidence": "evidence",
    "Failure": "failures",
    **dict.fromkeys(("Check", "Explanation", "Finding", "NotChecked", "Scope"), "findings"),
    **dict.fromkeys(("Promise", "Promises"), "promises"),
}
__getattr__ = loader(__name__, _HOMES)
