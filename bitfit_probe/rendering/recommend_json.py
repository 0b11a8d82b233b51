"""A recommendation as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bitfit_probe.records.recommendation import Recommendation, Recommended
from bitfit_probe.rendering.as_json import FORMAT_VERSION, json_text
from bitfit_probe.rendering.findings_json import check_document

__all__ = ["recommended_document", "recommended_to_json"]


def recommended_to_json(result: Recommended) -> str:
    """The recommendation with its evidence as JSON text, with a line break at its end."""
    return json_text(recommended_document(result))


def recommended_document(result: Recommended) -> dict[str, Any]:
    """What `distance` prints, with the recommendation, trial and findings; null where there is none."""
    return {
        "format_version": FORMAT_VERSION,
        **asdict(result.distance),
        "evidence": [asdict(item) for item in (*result.distance.evidence, *result.evidence)],
        "recommendation": _recommendation(result.recommendation),
        "trial": result.trial and asdict(result.trial),
        "check": result.check and check_document(result.check),
    }


def _recommendation(found: Recommendation) -> dict[str, Any]:
    advice = found.advice
    return {
        "method": found.method,
        "calibrated": found.calibrated,
        "price": found.price,
        "margin": found.margin,
        "prices": [asdict(item) for item in found.prices],
        "expected": {item.method: _without_method(item) for item in found.expected},
        "because": found.because,
        "against": found.against,
        "would_change": found.would_change,
        "first": found.first,
        "begin_with": advice.method,
        "lora": advice.lora and asdict(advice.lora),
        "learning_rate": advice.learning_rate,
        "roles": advice.roles,
        "warnings": advice.warnings,
        "costs": {item.method: _without_method(item) for item in found.costs},
        "command": advice.command,
        "snippet": advice.snippet,
    }


def _without_method(item: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(item).items() if name != "method"}
