"""Any document as one HTML file: nothing fetched, readable without script, safe with any name in it."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from bitfit_probe.errors import MissingExtraError
from bitfit_probe.rendering.document.blocks import Chart, Code, Document
from bitfit_probe.rendering.words import plural, printable

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
    made.filters |= {"code": _code, "svg": _svg, "kind": _kind}
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


def _code(block: Code) -> Markup:
    """Lines, of which each is text."""
    from markupsafe import Markup, escape

    return Markup("\n").join(map(escape, block.lines(_CODE)))


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
