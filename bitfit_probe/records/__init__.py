"""The records that the rooms hand to each other: frozen, without behaviour that needs numpy.

`diff` holds what was compared, `measures` what was measured on it, `evidence` single checkable numbers,
`findings` what `check` says, and `report` the bundle that renderers receive.
"""

from bitfit_probe.records.coverage import Coverage, Reason, Uncovered
from bitfit_probe.records.diff import (
    AdapterFacts,
    Comparison,
    Diff,
    JudgedBy,
    Kind,
    Part,
    Place,
    RoleDelta,
    Side,
    Summary,
    TensorDelta,
    Unmatched,
    Verdict,
)
from bitfit_probe.records.evidence import Evidence
from bitfit_probe.records.findings import Check, Explanation, Finding, NotChecked, Scope, Severity

__all__ = [
    "AdapterFacts",
    "Check",
    "Comparison",
    "Coverage",
    "Diff",
    "Evidence",
    "Explanation",
    "Finding",
    "JudgedBy",
    "Kind",
    "NotChecked",
    "Part",
    "Place",
    "Reason",
    "RoleDelta",
    "Scope",
    "Severity",
    "Side",
    "Summary",
    "TensorDelta",
    "Uncovered",
    "Unmatched",
    "Verdict",
]
