"""Renderers: a result in, text out. They know nothing of files and decide nothing."""

from bitfit_probe.report.as_csv import diff_to_csv
from bitfit_probe.report.as_json import diff_to_json
from bitfit_probe.report.as_text import diff_to_text
from bitfit_probe.report.patch_text import patch_to_text
from bitfit_probe.report.tuned_text import tuned_to_text
from bitfit_probe.report.words import headline, printable

__all__ = [
    "diff_to_csv",
    "diff_to_json",
    "diff_to_text",
    "headline",
    "patch_to_text",
    "printable",
    "tuned_to_text",
]
