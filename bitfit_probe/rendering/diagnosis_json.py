"""What `diagnose` says as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bitfit_probe.records.diagnosis import Diagnosed, Diagnosis
from bitfit_probe.rendering.as_json import FORMAT_VERSION, json_text

__all__ = ["diagnosed_document", "diagnosed_to_json"]


def diagnosed_to_json(found: Diagnosed) -> str:
    """As JSON text, with a line break at its end; null for what was not computed."""
    return json_text(diagnosed_document(found))


def diagnosed_document(found: Diagnosed) -> dict[str, Any]:
    """The first tuned model's diagnosis, those of the others under ``others``."""
    first, *others = [_diagnosis(item) for item in found.diagnoses]
    return {
        "format_version": FORMAT_VERSION,
        "base": found.base,
        "data": found.data,
        **first,
        "others": others,
        "rivals": [asdict(item) for item in found.rivals],
    }


def _diagnosis(found: Diagnosis) -> dict[str, Any]:
    document = asdict(found)
    flips = {"lost": document.pop("lost"), "won": document.pop("won")}
    quality = document["quality"]
    quality["per_class"] = quality.pop("classes")
    document["examples"] = {"count": found.examples, "worst": document.pop("worst"), "flips": flips}
    return document
