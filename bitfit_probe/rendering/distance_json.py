"""A task's distance as JSON."""

from __future__ import annotations

from dataclasses import asdict

from bitfit_probe.records.distance import Distance
from bitfit_probe.rendering.as_json import FORMAT_VERSION, json_text

__all__ = ["distance_to_json"]


def distance_to_json(distance: Distance) -> str:
    """The measured numbers as JSON text, with a line break at its end; null for what was not computed."""
    return json_text({"format_version": FORMAT_VERSION, **asdict(distance)})
