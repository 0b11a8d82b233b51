"""The report as one HTML file: nothing fetched, readable without script, safe with any name in it."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import asdict, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from bitfit_probe.errors import MissingExtraError
from bitfit_probe.records.report import Measured, Report
from bitfit_probe.rendering.as_json import report_to_json
from bitfit_probe.rendering.charts import to_inline_svg
from bitfit_probe.rendering.content import Picture
from bitfit_probe.rendering.findings_json import check_to_json
from bitfit_probe.rendering.recommend_json import recommended_to_json
from bitfit_probe.rendering.sections import sections, severities
from bitfit_probe.rendering.tables import evidence_table
from bitfit_probe.rendering.words import headline, plural, printable

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["report_to_html"]


def report_to_html(report: Report) -> str:
    """The report as a page.

    Raises
    ------
    MissingExtraError
        jinja2 or seaborn is not installed.
    """
    environment = _environment()
    from markupsafe import Markup

    found = report.check.findings if report.check else ()
    style, script = _asset("page.css"), _asset("page.js")
    template = environment.get_template("page.html.j2")
    page = template.render(
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        base=report.diff.base,
        comparisons=report.diff.comparisons,
        verdicts=_verdicts(report),
        family=report.diff.architecture,
        sections=sections(report),
        severities=severities(report),
        alarms=[item.message for item in found if item.severity == "error"],
        check=report.check,
        version=report.version,
        data=_data(report),
    )
    return page if page.endswith("\n") else f"{page}\n"


@cache
def _environment() -> Environment:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError(
            f"the HTML report needs {error.name}",
            advice='install it with: pip install "bitfit-probe[report]"',
        ) from error
    made = Environment(
        loader=PackageLoader("bitfit_probe.rendering", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters |= {"printable": printable, "svg": _svg, "kind": _kind}
    made.globals |= {"plural": plural, "evidence_table": evidence_table}
    return made


def _verdicts(report: Report) -> dict[str, list[str]]:
    """Each different sentence, with the checkpoints it is true of."""
    found: dict[str, list[str]] = {}
    for comparison in report.diff.comparisons:
        found.setdefault(headline(comparison), []).append(comparison.tuned.path)
    return found


def _kind(block: object) -> str:
    return type(block).__name__


def _svg(picture: Picture) -> Markup:
    from markupsafe import Markup

    return Markup(to_inline_svg(picture.key, picture.panel))  # made of escaped parts by an XML writer


@cache
def _asset(name: str) -> str:
    return resources.files("bitfit_probe.rendering").joinpath(name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    """Nothing from anywhere; this style and this script only."""
    parts = {
        "default-src": "'none'",
        "style-src": f"'sha256-{_hash(style)}'",
        "script-src": f"'sha256-{_hash(script)}'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in parts.items())


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _data(report: Report) -> Markup:
    """Everything as JSON that no name inside can end: ``<``, ``>`` and ``&`` are written as escapes."""
    from markupsafe import Markup

    text = json.dumps(_document(report), separators=(",", ":"))
    escaped = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(escaped)


def _document(report: Report) -> dict[str, Any]:
    """What ``diff --format json`` prints, with what else the report knows."""
    measured = report.measured or tuple(Measured() for _ in report.diff.comparisons)
    document: dict[str, Any] = json.loads(report_to_json(replace(report, measured=measured)))
    for comparison, item in zip(document["comparisons"], measured, strict=True):
        comparison.setdefault("reverting", item.reverting and asdict(item.reverting))
        for spectrum in comparison.get(
            "spectra", ()
        ):  # thousands of numbers a matrix, which the figure shows
            del spectrum["singular_values"]
    document["check"] = report.check and json.loads(check_to_json(report.check))
    if report.recommended is not None:
        document["recommended"] = json.loads(recommended_to_json(report.recommended))
    document["evidence"] = [asdict(item) for item in report.evidence]
    document["files"] = [{"path": path, "sha256": digest} for path, digest in report.files]
    return document
