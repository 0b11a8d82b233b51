"""What did fine-tuning change, did it train as intended, and was BitFit the right tool.

The names below are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitfit_probe.lazy import loader
from bitfit_probe.version import __version__

if TYPE_CHECKING:
    from bitfit_probe.api.ablation import revert
    from bitfit_probe.api.check import check, explain
    from bitfit_probe.api.compare import diff
    from bitfit_probe.api.diagnose import diagnose
    from bitfit_probe.api.identify import identify
    from bitfit_probe.api.inspect import inspect
    from bitfit_probe.api.report import demo, report
    from bitfit_probe.api.task import distance, recommend
    from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
    from bitfit_probe.data import Columns, TaskData, read_examples
    from bitfit_probe.errors import BitfitProbeError
    from bitfit_probe.fleet.calls import merge_fleets, read_fleet, run_fleet
    from bitfit_probe.records import Check, Comparison, Diff, Explanation, Finding, TensorDelta
    from bitfit_probe.records.diagnosis import Diagnosed
    from bitfit_probe.records.distance import Distance
    from bitfit_probe.records.fleet import Fleet
    from bitfit_probe.records.identification import Identified
    from bitfit_probe.records.inspection import Inspection
    from bitfit_probe.records.measures import Reverting
    from bitfit_probe.records.options import (
        CheckOptions,
        DiagnoseOptions,
        DistanceOptions,
        FleetOptions,
        RecommendOptions,
        ReportOptions,
        RevertOptions,
    )
    from bitfit_probe.records.recommendation import Recommended
    from bitfit_probe.records.report import Report
    from bitfit_probe.rendering import report_to_html, report_to_markdown
    from bitfit_probe.tuning.callback import BitFitProbeCallback
    from bitfit_probe.tuning.options import TuneOptions
    from bitfit_probe.tuning.patch import Patch, apply_patch, extract_patch, open_patch, verify_patch
    from bitfit_probe.tuning.swap import patched
    from bitfit_probe.tuning.tune import Tuned, tune

__all__ = [
    "BitFitProbeCallback",
    "BitfitProbeError",
    "Check",
    "CheckOptions",
    "Checkpoint",
    "Columns",
    "Comparison",
    "DiagnoseOptions",
    "Diagnosed",
    "Diff",
    "Distance",
    "DistanceOptions",
    "Explanation",
    "Finding",
    "Fleet",
    "FleetOptions",
    "Identified",
    "Inspection",
    "Patch",
    "RecommendOptions",
    "Recommended",
    "Report",
    "ReportOptions",
    "RevertOptions",
    "Reverting",
    "TaskData",
    "TensorDelta",
    "TuneOptions",
    "Tuned",
    "__version__",
    "apply_patch",
    "check",
    "demo",
    "diagnose",
    "diff",
    "distance",
    "explain",
    "extract_patch",
    "identify",
    "inspect",
    "merge_fleets",
    "open_checkpoint",
    "open_patch",
    "patched",
    "read_examples",
    "read_fleet",
    "recommend",
    "report",
    "report_to_html",
    "report_to_markdown",
    "revert",
    "run_fleet",
    "tune",
    "verify_patch",
]

_HOMES = {
    "BitFitProbeCallback": "tuning.callback",
    "BitfitProbeError": "errors",
    "Check": "records",
    "Checkpoint": "checkpoint",
    "Columns": "data",
    "Comparison": "records",
    "DiagnoseOptions": "records.options",
    "Diagnosed": "records.diagnosis",
    "Diff": "records",
    "Distance": "records.distance",
    "CheckOptions": "records.options",
    "DistanceOptions": "records.options",
    "Explanation": "records",
    "Finding": "records",
    "Identified": "records.identification",
    "Inspection": "records.inspection",
    "Fleet": "records.fleet",
    "FleetOptions": "records.options",
    "Patch": "tuning.patch",
    "RecommendOptions": "records.options",
    "Recommended": "records.recommendation",
    "Report": "records.report",
    "ReportOptions": "records.options",
    "RevertOptions": "records.options",
    "Reverting": "records.measures",
    "TaskData": "data",
    "TensorDelta": "records",
    "TuneOptions": "tuning.options",
    "Tuned": "tuning.tune",
    "apply_patch": "tuning.patch",
    "check": "api.check",
    "demo": "api.report",
    "diagnose": "api.diagnose",
    "diff": "api.compare",
    "distance": "api.task",
    "explain": "api.check",
    "identify": "api.identify",
    "inspect": "api.inspect",
    "extract_patch": "tuning.patch",
    "merge_fleets": "fleet.calls",
    "open_checkpoint": "checkpoint",
    "open_patch": "tuning.patch",
    "patched": "tuning.swap",
    "read_examples": "data",
    "read_fleet": "fleet.calls",
    "recommend": "api.task",
    "report": "api.report",
    "report_to_html": "rendering",
    "report_to_markdown": "rendering",
    "revert": "api.ablation",
    "run_fleet": "fleet.calls",
    "tune": "tuning.tune",
    "verify_patch": "tuning.patch",
}

__getattr__ = loader(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
