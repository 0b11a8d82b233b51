"""The JSON that other programs rely on: keys may be added, and never change their meaning."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from bitfit_probe.records import Comparison, Diff, TensorDelta, Unmatched, UpdateDelta
from bitfit_probe.records.forms import Forms
from bitfit_probe.records.measures import Ranked, Ranking, Revert, Reverting, Spectrum
from bitfit_probe.records.report import Report
from bitfit_probe.rendering.headline import headline

__all__ = ["FORMAT_VERSION", "compact_json", "diff_to_json", "json_text", "report_json", "report_to_json"]

#: Raised when a key changes its meaning or goes away.
FORMAT_VERSION = 1


def diff_to_json(diff: Diff) -> str:
    """The diff as JSON text, with a line break at its end. A figure that was not computed is null."""
    return json_text(_diff(diff))


def report_to_json(report: Report) -> str:
    """The diff with what was measured on it, as JSON text; keys that were not asked for are left out."""
    return json_text(report_json(report))


def report_json(report: Report) -> dict[str, Any]:
    """The same as what JSON is made of."""
    document = _diff(report.diff)
    for comparison, measured in zip(document["comparisons"], report.measured, strict=True):
        if measured.forms is not None:
            _add_forms(comparison, measured.forms)
        comparison |= _asked(
            adequacy=measured.adequacy and asdict(measured.adequacy),
            rankings=[_ranking(ranking) for ranking in measured.rankings],
            spectra=[_spectrum(spectrum) for spectrum in measured.spectra],
            reverting=measured.reverting and _reverting(measured.reverting),
            no_spectrum=[{"name": name, "why": why} for name, why in measured.no_spectrum],
        )
    document |= _asked(
        likeness=[asdict(likeness) for likeness in report.likeness],
        trajectory=report.trajectory and asdict(report.trajectory),
    )
    return document


def _add_forms(comparison: dict[str, Any], forms: Forms) -> None:
    """To each tensor its form, and the groups that share one."""
    for row, form in zip(comparison["tensors"], forms.rows, strict=True):
        row["form"] = form and asdict(form)
    comparison["forms"] = [asdict(group) for group in forms.groups]


def json_text(document: Mapping[str, Any], indent: int | None = None) -> str:
    """A document as JSON text with a line break at its end; null for NaN and infinities."""
    return json.dumps(_finite(document), ensure_ascii=True, allow_nan=False, indent=indent) + "\n"


def compact_json(document: Mapping[str, Any]) -> str:
    """The same without blanks and line break, for a page."""
    return json.dumps(_finite(document), allow_nan=False, separators=(",", ":"))


def _asked(**keys: Any) -> dict[str, Any]:
    return {name: value for name, value in keys.items() if value}


def _diff(diff: Diff) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "base": asdict(diff.base),
        "architecture": {"family": diff.architecture, "known_from": diff.architecture_known_from},
        "comparisons": [_comparison(comparison) for comparison in diff.comparisons],
        **_asked(failures=[asdict(item) for item in diff.failures]),
    }


def _ranking(ranking: Ranking) -> dict[str, Any]:
    return {
        "by": ranking.by,
        "paper": ranking.paper,
        "rows": [{"label": row.group.label, **asdict(row.group), **_figures(row)} for row in ranking.rows],
    }


def _figures(row: Ranked) -> dict[str, Any]:
    return {name: value for name, value in vars(row).items() if name != "group"}


def _reverting(reverting: Reverting) -> dict[str, Any]:
    rows = [_revert(row) for row in reverting.rows]
    together = reverting.together and _revert(reverting.together)
    return {**vars(reverting), "rows": rows, "together": together, "notes": list(reverting.notes)}


def _revert(row: Revert) -> dict[str, Any]:
    figures = {name: value for name, value in vars(row).items() if name != "group"}
    return {"label": row.group.label, **asdict(row.group), **figures, "verdict": row.verdict}


def _spectrum(spectrum: Spectrum) -> dict[str, Any]:
    energy = [{"rank": rank, "share": share} for rank, share in spectrum.energy]
    return {**asdict(spectrum), "energy": energy}


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "tuned": asdict(comparison.tuned),
        "verdict": comparison.verdict,
        "headline": headline(comparison),
        "key_bias_cancels": comparison.key_bias_cancels,
        "summary": asdict(comparison.summary),
        "coverage": asdict(comparison.coverage),
        "tensors": [_tensor(row) for row in comparison.tensors],
        "roles": [asdict(role) for role in comparison.roles],
        "unmatched_base": [_unmatched(item) for item in comparison.unmatched_base],
        "unmatched_tuned": [_unmatched(item) for item in comparison.unmatched_tuned],
        "notes": list(comparison.notes),
        **_asked(
            adapter=comparison.adapter and asdict(comparison.adapter),
            base_adapter=comparison.base_adapter and asdict(comparison.base_adapter),
            updates=[_update(row) for row in comparison.updates],
            model_parts=[asdict(part) for part in comparison.model_parts],
        ),
    }


def _tensor(row: TensorDelta) -> dict[str, Any]:
    figures = dict(vars(row))
    place = figures.pop("info")
    start = {name: figures.pop(name) for name in ("name", "tuned_name", "part")}
    return {**start, **vars(place), **figures}


def _update(row: UpdateDelta) -> dict[str, Any]:
    figures = dict(vars(row))
    return {"name": figures.pop("name"), **vars(figures.pop("info")), **figures}


def _unmatched(item: Unmatched) -> dict[str, Any]:
    return {"name": item.name, "shape": item.shape, "why": item.why, **asdict(item.info)}


def _finite(value: Any) -> Any:
    """`value` with null for NaN and infinities, which JSON does not know."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
