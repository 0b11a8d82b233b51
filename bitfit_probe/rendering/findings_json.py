"""Findings as the JSON that other programs rely on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bitfit_probe.records import Check, Finding
from bitfit_probe.records.promises import STATES, Promises
from bitfit_probe.rendering.as_json import FORMAT_VERSION, json_text

__all__ = ["check_document", "check_to_json", "promises_document"]


def check_to_json(check: Check) -> str:
    """The findings as JSON text, with a line break at its end."""
    return json_text(check_document(check))


def check_document(check: Check) -> dict[str, Any]:
    """The findings as what JSON is made of."""
    return {
        "format_version": FORMAT_VERSION,
        "findings": [_finding(finding) for finding in check.findings],
        "checked": check.checked,
        "not_checked": [asdict(item) for item in check.not_checked],
        "scopes": [asdict(item) for item in check.scopes],
        "promises": [promises_document(item) for item in check.promises],
        **({"failures": [asdict(item) for item in check.failures]} if check.failures else {}),
    }


def promises_document(promises: Promises) -> dict[str, Any]:
    """What the files of one checkpoint promise: the counts, and each."""
    counts: dict[str, Any] = {state: len(promises.of(state)) for state in STATES}
    return {"path": promises.path, **counts, "items": [asdict(item) for item in promises.items]}


def _finding(finding: Finding) -> dict[str, Any]:
    return {**asdict(finding), "url": f"docs/findings.md#{finding.code.lower()}"}
