"""Any document as one HTML file: nothing fetched, readable without script, safe with any name in it."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from bitfit_probe.errors import MissingExtraError
from bitfit_probe.rendering.document.blocks import Chart, Code, Curve, Document, Strips
from bitfit_probe.rendering.words import format_number, plural, printable

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["to_html"]

#: Columns of a shell command.
_CODE = 78


def to_html(document: Document) -> str:
    """The document as a page.

    Raises
    ------
    MissingExtraError
        jinja2 is not installed, or there is a chart and seaborn is not.
    """
    environment = _environment()
    from markupsafe import Markup

    style, script = _asset("page.css"), _asset("page.js")
    page = environment.get_template("page.html.j2").render(
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        document=document,
        data=_data(document.data),
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
        loader=PackageLoader("bitfit_probe.rendering.document", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_shown,
    )
    made.filters |= {"code": _code, "svg": _svg, "kind": _kind, "command": _command, "words": _words}
    made.filters |= {"tint": _tint, "scale": _scale, "anchor": _anchor, "figure": format_number}
    made.filters |= {"plotted": _plotted}
    made.globals |= {"plural": plural}
    return made


def _shown(value: object) -> object:
    """Text without what a reader's machine would obey; markup stays, and jinja escapes the rest."""
    return printable(value) if type(value) is str else value


def _kind(block: object) -> str:
    return type(block).__name__


def _svg(chart: Chart) -> Markup | str:
    panel = chart.draw()
    if panel is None:
        return ""
    from markupsafe import Markup

    from bitfit_probe.rendering.charts import to_inline_svg

    return Markup(to_inline_svg(chart.key, panel))  # made of escaped parts by an XML writer


def _command(text: str) -> Markup:
    return _code(Code("", text, "sh"))


def _code(block: Code) -> Markup:
    """Lines, of which each is text."""
    from markupsafe import Markup, escape

    return Markup("\n").join(map(escape, block.lines(_CODE)))


# Pictures in the page's own type and colours ------------------------------------------------------
#
# The policy forbids style attributes: places are attributes of SVG in percent, so that pictures take the
# width that there is and their text keeps its size; colours are classes.

#: Percent of an axis' length that is left free at either end, for marks.
_ROOM = 1.5
#: Steps of the colour scale, which the style sheet has as classes.
_TINTS = 10


def _words(legend: Sequence[tuple[str, str]], name: str) -> Markup:
    """A row's name in plain words, with the short one behind it."""
    from markupsafe import Markup

    long, name = dict(legend).get(name), printable(name)
    if long is None:
        return Markup("<bdi>{}</bdi>").format(name)
    return Markup("{} <small>{}</small>").format(printable(long), name)


def _tint(share: float | None) -> str:
    """The class of a cell that lies there on the colour scale."""
    if share is None or not math.isfinite(share):
        return "none"
    return f"h{min(int(min(max(share, 0.0), 1.0) * _TINTS), _TINTS - 1)}"


def _scale(strips: Strips) -> Callable[[float], str]:
    """Where a value stands on the axis, in percent of its length."""
    low, high = strips.ends

    def at(value: float) -> str:
        share = (min(max(value, low), high) - low) / ((high - low) or 1.0)
        return f"{_ROOM + (100 - 2 * _ROOM) * share:.2f}%"

    return at


def _anchor(place: str) -> str:
    """Which end of a label stands at its place, so that it stays inside."""
    share = float(place.rstrip("%"))
    return "start" if share < 25 else "end" if share > 75 else "middle"


def _plotted(curve: Curve) -> dict[str, Any]:
    """Lines and marks in percent of the picture, and what its corners stand for."""
    points = [point for _, line in curve.lines for point in line]
    first, last = min(step for step, _ in points), max(step for step, _ in points)
    low, high = min(0.0, *(value for _, value in points)), max(value for _, value in points)

    def place(step: int, value: float) -> tuple[str, str]:
        across = 100 * (step - first) / ((last - first) or 1)
        return f"{across:.2f}", f"{100 - 100 * (value - low) / ((high - low) or 1):.2f}"

    lines = []
    for name, line in curve.lines:
        places = [
            (*place(*point), f"{name} {point[1]:.3g} at {curve.across} {point[0]:,}") for point in _few(line)
        ]
        drawn = " ".join(f"{x},{y}" for x, y in (place(*point) for point in line))
        lines.append({"name": name, "points": drawn, "marks": places})
    ends = {"first": f"{first:,}", "last": f"{last:,}"}
    return {**ends, "low": f"{low:.3g}", "high": f"{high:.3g}", "lines": lines}


def _few(line: Sequence[tuple[int, float]], most: int = 24) -> list[tuple[int, float]]:
    """Points that bear a mark; of many, evenly between the first and the last."""
    step = -(-len(line) // most)
    kept = list(line[::step])
    return kept if kept[-1] == line[-1] else [*kept, line[-1]]


@cache
def _asset(name: str) -> str:
    return resources.files("bitfit_probe.rendering.document").joinpath(name).read_text("utf-8")


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


def _data(text: str) -> Markup:
    """JSON that no name inside can end: ``<``, ``>`` and ``&`` are written as escapes."""
    from markupsafe import Markup

    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
