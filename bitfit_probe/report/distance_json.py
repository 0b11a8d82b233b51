"""A task's distance as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

from bitfit_probe.records.distance import Distance
from bitfit_probe.report.as_json import FORMAT_VERSION, finite

__all__ = ["distance_to_json"]


def distance_to_json(distance: Distance) -> str:
    """The measured numbers as JSON text, with a line break at its end; null for what was not computed."""
    document = {"format_version": FORMAT_VERSION, **asdict(distance)}
    return json.dumps(finite(document), ensure_ascii=True, allow_nan=False) + "\n"
