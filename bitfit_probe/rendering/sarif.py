"""Findings as SARIF 2.1.0 (OASIS), the format of code-scanning pages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bitfit_probe.records import Check, Explanation, Failure, Finding, NotChecked, Scope
from bitfit_probe.rendering.as_json import json_text
from bitfit_probe.rendering.coverage import scope_sentences
from bitfit_probe.rendering.escaping import escape_sarif

__all__ = ["check_to_sarif"]

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {"error": "error", "warning": "warning", "info": "note"}


def check_to_sarif(check: Check, explanations: Iterable[Explanation], *, version: str) -> str:
    """The findings as one SARIF run, with a line break at its end.

    Parameters
    ----------
    check
        What was found.
    explanations
        Those of all rules that were run: they become the run's rules.
    version
        Of the program.
    """
    rules = list(explanations)
    places = {rule.code: number for number, rule in enumerate(rules)}
    run = {
        "tool": {
            "driver": {
                "name": "bitfit-probe",
                "semanticVersion": version,
                "rules": [_rule(rule) for rule in rules],
            }
        },
        "invocations": [
            {
                "executionSuccessful": not check.failures,
                "toolExecutionNotifications": [
                    *(_failure(item) for item in check.failures),
                    *(_notification(item) for item in check.not_checked),
                    *(_scope(item) for item in check.scopes),
                ],
            }
        ],
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, places[finding.code]) for finding in check.findings],
        "properties": {"scopes": [asdict(item) for item in check.scopes]},
    }
    document = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json_text(document, indent=1)


def _rule(rule: Explanation) -> dict[str, Any]:
    return {
        "id": rule.code,
        "name": "".join(part.capitalize() for part in rule.name.split("-")),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": _section(rule, "What it means") or rule.title},
        "help": {
            "text": "\n\n".join(f"{heading}\n{body}" for heading, body in rule.sections) or rule.title,
            "markdown": "\n\n".join(f"### {heading}\n\n{body}" for heading, body in rule.sections),
        },
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"tags": ["fine-tuning"]},
    }


def _section(rule: Explanation, heading: str) -> str:
    return " ".join(dict(rule.sections).get(heading, "").split())


def _result(finding: Finding, rule: int) -> dict[str, Any]:
    message = escape_sarif(f"{finding.message} {finding.advice}".strip())
    return {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": _LEVELS[finding.severity],
        "message": {"text": message},
        "locations": [_location(finding)],
        "partialFingerprints": {"finding/v1": _fingerprint(finding.code, finding.tuned, finding.subjects)},
        "properties": {
            "evidence": [
                {"measure": item.measure, "value": item.value, "unit": item.unit, "about": item.about}
                for item in finding.evidence
            ]
        },
    }


def _location(finding: Finding) -> dict[str, Any]:
    place: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": _uri(finding.tuned)},
            "region": {"startLine": 1},
        }
    }
    if finding.subjects:
        place["logicalLocations"] = [{"name": name, "kind": "member"} for name in finding.subjects]
    return place


def _uri(path: str) -> str:
    """A relative path as a relative reference, an absolute one as a file URI."""
    parts = Path(path)
    return parts.as_uri() if parts.is_absolute() else quote(parts.as_posix())


def _fingerprint(code: str, path: str, subjects: Sequence[str]) -> str:
    return hashlib.sha256("\n".join((code, path, *subjects)).encode("utf-8", "surrogatepass")).hexdigest()


def _notification(item: NotChecked) -> dict[str, Any]:
    return {
        "level": "note",
        "message": {"text": escape_sarif(f"{item.code} was not checked: {item.why}")},
        "associatedRule": {"id": item.code},
    }


def _failure(item: Failure) -> dict[str, Any]:
    return {
        "level": "error",
        "message": {"text": escape_sarif(f"{item.code} {item.message}")},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(item.tuned)}}}],
    }


def _scope(scope: Scope) -> dict[str, Any]:
    return {
        "level": "note",
        "message": {"text": escape_sarif(" ".join(scope_sentences(scope)))},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(scope.tuned)}}}],
    }
