"""`bitfit_probe.report` of what is asked for and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bitfit_probe as bp
from bitfit_probe.records.report import Report


def described(*paths: Path, **asked: Any) -> Report:
    """What files alone tell by `asked`; nothing that takes long unless it is named."""
    plain = {"spectra": False, "hashes": False, "check": False}
    return bp.report(*paths, options=bp.ReportOptions(**(plain | asked)))
