"""A fleet as the JSON that other programs rely on, and one row a checkpoint for spreadsheets."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bitfit_probe.records.fleet import Fleet, FleetRow
from bitfit_probe.rendering.as_csv import csv_text
from bitfit_probe.rendering.as_json import FORMAT_VERSION, json_text

__all__ = ["fleet_document", "fleet_to_csv", "fleet_to_json"]


def fleet_to_json(fleet: Fleet) -> str:
    """The fleet as JSON text, with a line break at its end."""
    return json_text(fleet_document(fleet))


def fleet_document(fleet: Fleet) -> dict[str, Any]:
    """The fleet as what JSON is made of; sketches of directions stay in the manifest."""
    rows = [{name: value for name, value in asdict(row).items() if name != "direction"} for row in fleet.rows]
    return {"format_version": FORMAT_VERSION, **asdict(fleet), "rows": rows}


def fleet_to_csv(fleet: Fleet) -> str:
    """One row a checkpoint as CSV text."""
    return csv_text([_row(row) for row in fleet.rows])


def _row(row: FleetRow) -> dict[str, Any]:
    plain = {
        name: value for name, value in vars(row).items() if name not in ("direction", "findings", "error")
    }
    return {
        **plain,
        "findings": " ".join(found.code for found in row.findings),
        "error_code": row.error.code if row.error else "",
        "error": row.error.message if row.error else "",
    }
