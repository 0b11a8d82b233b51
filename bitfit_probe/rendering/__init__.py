"""Renderers: a result in, text out. They know nothing of files and decide nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitfit_probe.lazy import loader
from bitfit_probe.rendering.headline import headline  # its module has the same name, and would win

if TYPE_CHECKING:
    from bitfit_probe.rendering.as_csv import diff_to_csv
    from bitfit_probe.rendering.as_json import diff_to_json, report_to_json
    from bitfit_probe.rendering.findings_json import check_to_json
    from bitfit_probe.rendering.fleet_data import fleet_to_csv, fleet_to_json
    from bitfit_probe.rendering.render import (
        check_to_text,
        decision_to_text,
        diagnosed_to_markdown,
        diagnosed_to_text,
        diff_to_text,
        distance_to_text,
        explanation_to_text,
        fleet_to_html,
        fleet_to_text,
        identified_to_json,
        identified_to_text,
        inspection_to_json,
        inspection_to_text,
        patch_to_text,
        recommended_to_text,
        report_to_html,
        report_to_markdown,
        report_to_text,
        tuned_to_text,
    )
    from bitfit_probe.rendering.sarif import check_to_sarif
    from bitfit_probe.rendering.words import printable

__all__ = [
    "check_to_json",
    "check_to_sarif",
    "check_to_text",
    "decision_to_text",
    "diagnosed_to_markdown",
    "diagnosed_to_text",
    "diff_to_csv",
    "diff_to_json",
    "diff_to_text",
    "distance_to_text",
    "explanation_to_text",
    "fleet_to_csv",
    "fleet_to_html",
    "fleet_to_json",
    "fleet_to_text",
    "headline",
    "identified_to_json",
    "identified_to_text",
    "inspection_to_json",
    "inspection_to_text",
    "patch_to_text",
    "printable",
    "recommended_to_text",
    "report_to_html",
    "report_to_json",
    "report_to_markdown",
    "report_to_text",
    "tuned_to_text",
]

_HOMES = {
    "check_to_json": "findings_json",
    "check_to_sarif": "sarif",
    "diff_to_csv": "as_csv",
    "diff_to_json": "as_json",
    "fleet_to_csv": "fleet_data",
    "fleet_to_json": "fleet_data",
    "printable": "words",
    "report_to_json": "as_json",
}
__getattr__ = loader(__name__, dict.fromkeys(__all__, "render") | _HOMES)
